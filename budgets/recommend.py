"""Which plan to run: over models, strategies, verifiers, numbers of samples and their length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from budgets.candidates import HAIR, Candidate, Candidates, candidates
from budgets.findings import Findings, number
from budgets.plan_intervals import MOVED_AT, accuracy_interval, cost_intervals
from budgets.plan_lines import Line, lines_of
from budgets.plans import (
    Caps,
    Choice,
    Interval,
    Offer,
    Predicted,
    Recommendation,
    ScalingPlan,
    VerifierOffer,
    Wanted,
)
from budgets.recommend_reasons import reasons
from budgets.recommend_warnings import warnings

__all__ = [
    "Caps",
    "Choice",
    "Interval",
    "Offer",
    "Predicted",
    "Recommendation",
    "ScalingPlan",
    "VerifierOffer",
    "Wanted",
    "recommend",
    "warm",
]

_FRONTIER = 8
_LEAST_ENDED = 0.01
"""Of right responses, the share that has to end within a plan's length for it to be one."""
_HOPELESS = 0.01
_SLACK = 1 - 1e-6


def recommend(offers: Sequence[Offer], wanted: Wanted) -> Recommendation:
    """The plan for what is wanted, of what is offered.

    With a budget the most accurate plan whose predicted mean cost fits every cap (where wrong answers cost something,
    that of the greatest utility); of those within 0.2 points of it the cheapest. With a target the cheapest that
    reaches it; with both the cheapest that reaches it within the budget; where none does, as with the budget alone, and
    a warning says what would. Cheapest in usd where all offers are priced, else in eflops, else in tokens.

    Samples are looked at one by one up to 16, then in steps of an eighth and where the budget just fits; lengths at a
    few quantiles of those known. Repeated sampling is charged for the waves to be expected. A hint of `difficulty`:
    see `curves.hinted`. ValueError with the mend where nothing is possible.
    """
    able, left_out = _able(offers, wanted)
    lines = [line for offer in able for line in lines_of(offer, wanted)]
    found = _ending(candidates(lines, wanted))
    if not found.fits.any():
        found = candidates([line for offer in able for line in lines_of(offer, wanted, short=True)], wanted)
        found = _ending(found)
    if not found.fits.any():
        raise ValueError(_too_small(found, wanted))
    chosen = _chosen(found, wanted)
    choice = _choice(chosen)
    frontier = tuple(choice if each is chosen else _choice(each) for each in _frontier(found, chosen))
    findings = Findings(found, chosen, choice, wanted, able, _enough(lines, chosen, wanted))
    return Recommendation(
        choice, frontier, tuple(reasons(findings)), (*left_out, *warnings(findings)), found.axis
    )


def warm(offer: Offer, most_samples: int = 256, k: int = 1) -> Iterator[None]:
    """Work out, bit by bit, what the first recommendation of k answers would have to wait for: tables of votes.

    Seconds of it, once for each calibration: neither feedback nor anything in a request changes them, but k.
    """
    for line in lines_of(offer, Wanted(Caps(samples=most_samples), k=k, most_samples=most_samples)):
        line.accuracies(line.samples(most_samples))
        yield
        for samples in MOVED_AT:
            if samples <= most_samples:
                accuracy_interval(line, samples)
                yield


def _able(offers: Sequence[Offer], wanted: Wanted) -> tuple[list[Offer], list[str]]:
    """The offers whose cost is known in every capped unit, measured ones where there are any, and what is left out."""
    if not offers:
        raise ValueError("No model is offered. Name one in model, or several in models.")
    able, left_out = [], []
    for offer in offers:
        lacking = _lacking(offer, wanted)
        if lacking:
            left_out.append(f"{offer.model} was left out: {lacking}")
        else:
            able.append(offer)
    if not able:
        raise ValueError(" ".join(left_out))
    # A wide prior has a chance of everything: it would beat what was measured by what nobody knows.
    measured = [offer for offer in able if offer.profile.source != "prior"]
    if not measured:
        return able, left_out
    left_out += [
        f"{offer.model} was left out: nothing was measured of it on this task, and of other models something was. "
        f"Calibrate it with aliquot calibrate --model {offer.model} --data FILE.jsonl."
        for offer in able
        if offer.profile.source == "prior"
    ]
    return measured, left_out


def _lacking(offer: Offer, wanted: Wanted) -> str | None:
    caps = wanted.caps.given()
    if offer.tariff is None:
        for unit in ("eflops", "seconds", "usd"):
            if unit in caps:
                return f"budget.{unit} cannot be predicted for it. Configure its hardware, or leave out that cap."
    elif offer.tariff.usd_per_hour is None and "usd" in caps:
        return "budget.usd cannot be predicted for it. Configure its usd_per_hour, or leave out that cap."
    return None


def _ending(found: Candidates) -> Candidates:
    """The same, but that nothing fits with which hardly any right response ends."""
    return replace(found, fits=found.fits & found.of(line.ended >= _LEAST_ENDED for line in found.lines))


def _too_small(found: Candidates, wanted: Wanted) -> str:
    whole = found.of(line.ended >= 0.5 * _SLACK for line in found.lines)
    for unit, cap in wanted.caps.given().items():
        if unit != "samples" and not np.any(whole & (found.costs[unit] <= cap)):
            return (
                f"budget.{unit} of {cap:g} is too small for an answer: before half of the right responses have ended, "
                f"{number(float(found.costs[unit][whole].min()))} are spent. Raise budget.{unit} to that or more."
            )
    units = " and ".join(f"budget.{unit}" for unit in wanted.caps.given() if unit != "samples")
    return f"No plan fits {units} at once. Raise one of them."


def _chosen(found: Candidates, wanted: Wanted) -> Candidate:
    target = wanted.target_accuracy
    reaching = None if target is None else found.cheapest(found.fits & (found.accuracy >= target))
    chosen = reaching or _longest(found) or found.best(found.fits)
    assert chosen is not None  # something fits
    return chosen


def _longest(found: Candidates) -> Candidate | None:
    """Where no plan is right any more, for lack of length, the longest with the fewest samples; None elsewhere.

    Of such plans the cheapest would be worth as much, and throw the budget away.
    """
    at = np.flatnonzero(found.fits)
    length = np.array([line.max_tokens for line in found.lines])[found.place[at]]
    first = found[at[np.lexsort((found.cost[at], found.samples[at], -length))[0]]]
    return first if found.accuracy[at].max() < _HOPELESS and first.line.ended < 0.5 else None


def _enough(lines: Sequence[Line], chosen: Candidate, wanted: Wanted) -> Candidate | None:
    """Where the target is not reached, the cheapest plan that would reach it without a budget."""
    target = wanted.target_accuracy
    if target is None or chosen.accuracy >= target:
        return None
    found = candidates(lines, replace(wanted, caps=Caps()))
    return found.cheapest(found.accuracy >= target)


def _frontier(found: Candidates, chosen: Candidate) -> list[Candidate]:
    """Plans that fit by rising cost and rising accuracy, the chosen one among them, a hair apart or more."""
    at = np.flatnonzero(found.fits)
    at = at[found.ranked(at, found.accuracy)]
    best = np.maximum.accumulate(found.accuracy[at])
    at = at[np.concatenate([[True], found.accuracy[at][1:] > best[:-1]])]
    gap = max(HAIR, float(np.ptp(found.accuracy[at])) / (_FRONTIER - 1))
    # Where wrong answers cost something, the chosen plan may be off the frontier.
    on = any(found.samples[i] == chosen.samples and found.lines[found.place[i]] is chosen.line for i in at)
    kept: list[Candidate] = []
    for each in (found[place] for place in at):
        apart = not on or abs(each.accuracy - chosen.accuracy) >= gap
        if apart and (not kept or each.accuracy >= kept[-1].accuracy + gap):
            kept.append(each)
    return sorted([*kept, chosen] if on else kept, key=lambda each: each.accuracy)


def _choice(chosen: Candidate) -> Choice:
    line, n = chosen.line, chosen.samples
    costs = cost_intervals(line, n, chosen.costs)
    tokens = costs.pop("tokens")
    assert tokens is not None  # tokens are always known
    plan = ScalingPlan(
        line.offer.model,
        line.strategy,
        dict(line.params),
        n,
        line.max_tokens,
        line.verifier.name if line.verifier else None,
    )
    return Choice(plan, Predicted(accuracy_interval(line, n), **costs, tokens=tokens))
