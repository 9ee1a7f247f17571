"""What to beware of in a recommendation: what is not known, cannot be reached, or would be wasted."""

from __future__ import annotations

from collections.abc import Iterator

from budgets.candidates import HAIR
from budgets.findings import Findings, cost_of, described, percent, samples_of, sentence, tokens_of
from budgets.first_accepted import ceiling

_DOUBLE = 2
_FEW = 0.5


def warnings(findings: Findings) -> Iterator[str]:
    """Plain sentences with numbers."""
    for part in (_prior, _unpriced, _target, _ceiling, _saturated, _cut, _not_worth):
        yield from part(findings)


def _prior(findings: Findings) -> Iterator[str]:
    line = findings.chosen.line
    profile = line.offer.profile
    if profile.source == "prior":
        why = f"No profile of {line.offer.model} is kept for this task: these are the wide prior's numbers."
        if profile.feedback:
            verdicts = "1 verdict" if profile.feedback == 1 else f"{profile.feedback:,} verdicts"
            why = (
                f"Nothing of {line.offer.model} was measured on this task: these are the wide prior's numbers, "
                f"and only {verdicts} on its answers moved them."
            )
        yield f"{why} Calibrate with aliquot calibrate --model {line.offer.model} --data FILE.jsonl."
    elif line.verifier is not None and not profile.knows(line.verifier.name):
        yield (
            f"{line.verifier.name} was never measured on this task: how well it tells right from wrong is a guess. "
            f"Calibrate with --verifier {line.verifier.name}."
        )


def _unpriced(findings: Findings) -> Iterator[str]:
    line = findings.chosen.line
    if line.offer.tariff is None:
        yield f"What {line.offer.model} runs on is not known: eflops, seconds and usd are null. Configure its hardware."
    elif line.offer.tariff.usd_per_hour is None:
        yield f"{line.offer.model} has no price: usd is null. Configure its usd_per_hour."
    verifier = line.verifier
    if verifier is not None and verifier.tariff is None and not verifier.free:
        yield f"What {verifier.name} costs is not known: its reading counts as nothing here."


def _target(findings: Findings) -> Iterator[str]:
    target, chosen, enough = findings.wanted.target_accuracy, findings.chosen, findings.enough
    if target is None or findings.reaches:
        return
    best = f"The most within reach is {percent(chosen.accuracy)}, which is recommended."
    if enough is None:
        yield (
            f"The target of {percent(target)} is out of reach: of what is offered nothing gets there with "
            f"{samples_of(findings.wanted.most_samples)}, whatever the budget. {best} A better model or a better "
            f"verifier might."
        )
        return
    capped = [unit for unit in findings.wanted.caps.given() if unit != "samples"] or [findings.found.axis]
    needs = " and ".join(cost_of(enough, unit) for unit in capped)
    yield (
        f"The target of {percent(target)} is out of reach of this budget. {best} "
        f"{sentence(described(enough))}, {samples_of(enough.samples)} of {enough.line.offer.model}, would reach "
        f"{percent(enough.accuracy)} for {needs}."
    )


def _ceiling(findings: Findings) -> Iterator[str]:
    chosen, rates = findings.chosen, findings.rates
    if chosen.line.strategy != "repeated_sampling" or chosen.line.verifier is None or rates.fpr == 0:
        return
    most = ceiling(chosen.line.task.difficulty, rates)
    if most is not None:
        yield (
            f"{chosen.line.verifier.name} accepts {percent(rates.fpr)} of wrong responses, so accepted answers are "
            f"right in at most {percent(most)} of cases, however many samples are drawn."
        )


def _saturated(findings: Findings) -> Iterator[str]:
    """The budget buys twice as many samples and more, which would add no more than a hair."""
    found, chosen = findings.found, findings.chosen
    if findings.reaches:
        return
    on = found.of(line is chosen.line for line in found.lines) & found.fits
    if chosen.line.ended < _FEW:
        return  # what is lacking is length
    most = int(found.samples[on].max())
    gain = float(found.worth[on].max()) - chosen.worth
    if most >= _DOUBLE * chosen.samples and gain <= HAIR:
        yield (
            f"Past saturation: the budget has room for {most} samples, but those after the first {chosen.samples} "
            f"would add {max(0.0, 100 * gain):.2f} points together."
        )


def _cut(findings: Findings) -> Iterator[str]:
    line = findings.chosen.line
    right, _ = findings.finished
    if right < _FEW:
        yield (
            f"Only {percent(right)} of right responses end within {tokens_of(line.max_tokens)}, so this "
            f"leans on the tail of the lengths that were fitted. A larger budget leaves room for whole responses."
        )


def _not_worth(findings: Findings) -> Iterator[str]:
    if findings.wanted.wrong_answer_cost is not None and findings.chosen.worth <= 0:
        yield (
            f"Answering is not worth it: at {findings.wanted.wrong_answer_cost:g} right answers a wrong one, the best "
            f"plan is worth {findings.chosen.worth:.3f}, and no answer 0."
        )
