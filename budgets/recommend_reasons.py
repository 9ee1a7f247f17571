"""A recommendation in words: why this plan and no other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from budgets.findings import (
    UNITS,
    Findings,
    amount,
    cost_of,
    described,
    percent,
    samples_of,
    sentence,
    tokens_of,
)
from budgets.first_accepted import best_most
from budgets.plans import Interval

_SHORT = 0.02
_NO_GAIN = 0.0005


def reasons(findings: Findings) -> Iterator[str]:
    """Why this strategy, number of samples, verifier, length and model."""
    yield _prediction(findings)
    if findings.reaches and findings.wanted.target_accuracy is not None:
        yield (
            f"It is the cheapest plan looked at that reaches {percent(findings.wanted.target_accuracy)}, in "
            f"{UNITS[findings.found.axis]}."
        )
    for part in (_strategies, _samples, _verifier, _length, _models, _hint, _abstaining):
        yield from part(findings)


def _prediction(findings: Findings) -> str:
    plan, predicted = findings.choice.plan, findings.choice.predicted
    what = described(findings.chosen)
    if plan.samples > 1 or plan.verifier is not None:
        upto = "up to " if plan.strategy == "repeated_sampling" and plan.samples > 1 else ""
        what += f", {upto}{samples_of(plan.samples)} of at most {tokens_of(plan.max_tokens)},"
    else:
        what += f" of at most {tokens_of(plan.max_tokens)}"
    costs = [
        amount(cost.value, unit) for unit in UNITS if isinstance(cost := getattr(predicted, unit), Interval)
    ]
    low, high = percent(predicted.accuracy.low), percent(predicted.accuracy.high)
    return sentence(
        f"{what} is expected to be right in "
        f"{percent(predicted.accuracy.value)} of cases ({low} to {high}), for {', '.join(costs)} in the mean."
    )


def _strategies(findings: Findings) -> Iterator[str]:
    """The best of each other strategy of the same model within the same budget."""
    found, chosen, fits = findings.found, findings.chosen, findings.found.fits & findings.same_model
    others = sorted({line.strategy for line in found.lines} - {chosen.line.strategy})
    rivals = [found.best(fits & found.of(line.strategy == name for line in found.lines)) for name in others]
    shown = sorted((rival for rival in rivals if rival is not None), key=lambda rival: -rival.accuracy)
    if shown:
        listed = [
            f"{described(rival)} {percent(rival.accuracy)} with {samples_of(rival.samples)}"
            for rival in shown
        ]
        yield f"Within the same limits, at their best: {', '.join(listed)}."


def _samples(findings: Findings) -> Iterator[str]:
    """Why no more samples: the budget, or what they would add."""
    found, chosen = findings.found, findings.chosen
    if findings.reaches:
        return
    on = found.of(line is chosen.line for line in found.lines) & (found.samples > chosen.samples)
    fitting, beyond = np.flatnonzero(on & found.fits), np.flatnonzero(on & ~found.fits)
    if len(fitting):
        most = found[int(fitting[np.argmax(found.samples[fitting])])]
        gain = most.worth - chosen.worth
        of = "points" if findings.wanted.wrong_answer_cost is None else "hundredths of a right answer"
        change = f"only add {100 * gain:.1f} {of}" if gain > 0 else f"take {-100 * gain:.1f} {of} away"
        if abs(gain) < _NO_GAIN:
            change = "add nothing"
        yield f"More samples would fit, but {most.samples} would {change}."
    elif len(beyond):
        more = found[int(beyond[np.argmin(found.samples[beyond])])]
        caps = findings.wanted.caps.given()
        over = [unit for unit, cap in caps.items() if unit != "samples" and more.costs[unit] > cap]
        yield (
            f"No more samples fit {' and '.join(f'budget.{unit}' for unit in over)}: {more.samples} would be right in "
            f"{percent(more.accuracy)} of cases and need {' and '.join(cost_of(more, unit) for unit in over)}."
        )


def _verifier(findings: Findings) -> Iterator[str]:
    """Verifier-based against verifier-free at no more cost (the question of 2502.12118)."""
    found, chosen = findings.found, findings.chosen
    if not chosen.line.offer.verifiers:
        yield "No verifier was offered, so samples vote."
        return
    fits, with_one = (
        found.fits & findings.same_model,
        found.of(line.verifier is not None for line in found.lines),
    )
    if chosen.line.verifier is None:
        other = found.best(fits & with_one)
        if other is not None:
            yield (
                f"A verifier is not worth its cost here: {described(other)} is right in {percent(other.accuracy)} of "
                f"cases, for {cost_of(other, found.axis)}."
            )
        return
    cost = chosen.costs[found.axis] * (1 + 1e-9)
    other = found.best(fits & ~with_one & (found.cost <= cost))
    if other is not None:
        yield (
            f"Without {chosen.line.verifier.name}, {described(other)} is right in {percent(other.accuracy)} of cases "
            f"for no more {UNITS[found.axis]} ({samples_of(other.samples)})."
        )


def _length(findings: Findings) -> Iterator[str]:
    line, (right, wrong) = findings.chosen.line, findings.finished
    if right < 1 - _SHORT:
        yield (
            f"Of right responses {percent(right)} end within {tokens_of(line.max_tokens)}, of wrong ones "
            f"{percent(wrong)}; {_why_no_longer(findings)}."
        )


def _why_no_longer(findings: Findings) -> str:
    found, line = findings.found, findings.chosen.line
    longer = findings.same_model & found.of(each.max_tokens > line.max_tokens for each in found.lines)
    units = [f"budget.{unit}" for unit in findings.wanted.caps.given() if unit != "samples"]
    if line.max_tokens >= line.offer.room:
        return "there is no more room after this prompt"
    if np.any(longer & found.fits):
        return "longer ones would cost more than they gain"
    if line.offer.profile.cap is not None and line.max_tokens >= line.offer.profile.cap:
        return "longer ones were not measured"
    if units and (longer.any() or line.ended < 0.5):
        return f"longer ones do not fit {' and '.join(units)}"
    return "longer ones were not looked at"


def _models(findings: Findings) -> Iterator[str]:
    found, chosen = findings.found, findings.chosen
    for offer in findings.offers:
        if offer is chosen.line.offer:
            continue
        best = found.best(found.fits & found.of(line.offer is offer for line in found.lines))
        if best is None:
            yield f"{offer.model} does not fit the budget."
        else:
            yield (
                f"{offer.model} would be right in {percent(best.accuracy)} of cases, by {described(best)} with "
                f"{samples_of(best.samples)} for {cost_of(best, found.axis)}."
            )


def _hint(findings: Findings) -> Iterator[str]:
    if findings.wanted.difficulty is not None:
        line = findings.chosen.line
        yield (
            f"At a difficulty of {findings.wanted.difficulty:g} a sample is taken to be right with "
            f"{percent(line.fitted.difficulty.beta.mean)}; over the whole task it is "
            f"{percent(line.offer.profile.difficulty.beta.mean)}."
        )


def _abstaining(findings: Findings) -> Iterator[str]:
    cost, chosen = findings.wanted.wrong_answer_cost, findings.chosen
    if cost is None:
        return
    right, wrong = (float(part[0]) for part in chosen.line.answers([chosen.samples]))
    yield (
        f"With a wrong answer costing {cost:g} right ones it is worth {chosen.worth:.3f}: {percent(right)} right, "
        f"{percent(wrong)} wrong, {percent(max(0.0, 1 - right - wrong))} without an answer."
    )
    if chosen.line.strategy == "repeated_sampling":
        yield "Take its answer only where stopped_because is accepted: the rest are guesses that the verifier refused."
        difficulty = chosen.line.task.difficulty
        best = best_most(difficulty, findings.rates, cost, most=findings.wanted.samples_allowed)
        if 0 < best.samples < findings.wanted.samples_allowed:
            yield (
                f"More than {samples_of(best.samples)} lose: what is still unsolved then is accepted "
                f"wrongly too often."
            )
