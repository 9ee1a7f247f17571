"""How many more samples a prompt is worth, once some are seen; what `strategy: auto` decides after a probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from budgets.checks import check_number
from budgets.difficulty import Array
from budgets.futures import Ahead, Futures, Places, Rule, rules
from budgets.posterior import MOST_EVIDENCE, Evidence, posterior
from budgets.prediction import Options, Strategy
from budgets.uncertainty import FittedTask

LEAST_GAIN = 0.016
_SMALLEST_GAIN = 1e-4
_FARTHEST = 64
_PROBES = (2, 4)
_BINS = 16
_FUTURES = 256
_FIRST_FUTURES = 2048


@dataclass(frozen=True, slots=True)
class Allocation:
    """`more` samples to draw next; 0: enough.

    `ranked`: the answers seen, by their place in the evidence's votes, likeliest right first. `accuracy_now` is the
    chance that one of its first k is right, `accuracy_then` what it is expected to be once all is drawn that is worth
    it, which may be more than `more`. `strategy` with `options` is the one that then comes nearest to this choice.
    `reason`: a plain sentence with numbers.
    """

    more: int
    strategy: Strategy
    options: Options
    accuracy_now: float
    accuracy_then: float
    reason: str
    ranked: tuple[int, ...] = ()


def allocate(
    fitted: FittedTask,
    evidence: Evidence,
    *,
    most: int,
    verifier: bool,
    least_gain: float = LEAST_GAIN,
    k: int = 1,
) -> Allocation:
    """What to draw next of a prompt, `most` samples at most, asked again after each wave.

    Samples are drawn as long as some number of further ones, looking up to 64 ahead, is expected to add `least_gain` to
    the accuracy for each of them. At first a probe of 2 or 4 where it saves a sample's worth or more against the best
    number drawn at once; later waves of half of what there is. With `verifier` the samples to come will have scores. At
    most 512 samples of a prompt are reckoned with. The same for the same arguments; ValueError names what is wrong.

    Source: saturation, TTSPM 2505.20522, with the expected gain of the posterior of this prompt (the preposterior
    analysis of Raiffa and Schlaifer 1961) instead of a curve's.
    """
    check_number("most", most, whole=True)
    check_number("least_gain", least_gain, least=_SMALLEST_GAIN, most=1.0)
    check_number("k", k, least=1, most=128, whole=True)
    further = min(most, MOST_EVIDENCE - evidence.drawn)
    if evidence.drawn:
        return _next(fitted, evidence, further, verifier, least_gain, k)
    if not further:
        return Allocation(0, "majority", Options(k=k), 0.0, 0.0, "No sample may be drawn.")
    return _first(fitted, min(further, _FARTHEST), verifier, least_gain, k)


def _next(
    fitted: FittedTask, evidence: Evidence, most: int, verifier: bool, least_gain: float, k: int
) -> Allocation:
    horizon = min(most, _FARTHEST)
    futures = Futures(fitted, evidence, horizon, verifier=verifier, rows=_FUTURES)
    chances = np.array(posterior(fitted, evidence).right)
    ranked: Places = np.argsort(-chances, kind="stable")
    accuracy = float(chances[ranked[:k]].sum())
    ahead = {n: futures.after(n) for n in _steps(2, horizon)}
    # Against today's choice in the same futures: where nothing would be chosen anew, nothing is gained.
    gains = {n: float((then.likeliest(k) - then.of(ranked[:k] + 1)).mean()) for n, then in ahead.items()}
    total = max(gains, key=lambda n: gains[n] - least_gain * n, default=0)
    if total and gains[total] < least_gain * total:
        total = 0
    more = min(total, max(2, math.ceil(evidence.drawn / 2)))
    last = ahead[total] if total else Futures(fitted, evidence, 0, verifier=verifier, rows=1).after(0)
    rule = _rule(last, verifier, k)
    reason = _seen(evidence, accuracy, ranked, k) + _outlook(evidence.drawn, gains, total, more, least_gain)
    then = min(1.0, accuracy + gains.get(total, 0.0))
    return Allocation(more, rule.strategy, rule.options, accuracy, then, reason, tuple(ranked.tolist()))


@lru_cache(256)
def _first(fitted: FittedTask, most: int, verifier: bool, least_gain: float, k: int) -> Allocation:
    futures = Futures(fitted, Evidence(()), most, verifier=verifier, rows=_FIRST_FUTURES)
    ahead = {n: futures.after(n) for n in _steps(1, most)}
    right = {n: then.likeliest(k) for n, then in ahead.items()}
    worth = {n: chance - least_gain * n for n, chance in right.items()}
    at_once = max(worth, key=lambda n: float(worth[n].mean()))
    probed = {n: _after_probe(right[n], [worth[m] for m in worth if m >= n]) for n in _PROBES if n < at_once}
    probe = max(probed, key=lambda n: probed[n], default=0)
    rule, then = _rule(ahead[at_once], verifier, k), float(right[at_once].mean())
    once = f"{_samples(at_once)} drawn at once would be right with {_percent(then)}"
    saved = (probed[probe] - float(worth[at_once].mean())) / least_gain if probe else 0.0
    if saved < 1:
        reason = f"{once}, and looking at fewer first would not save one sample."
        return Allocation(at_once, rule.strategy, rule.options, 0.0, then, reason)
    reason = f"{once}; looking at {probe} first is worth about {_samples(min(round(saved), at_once))}."
    return Allocation(probe, rule.strategy, rule.options, 0.0, then, reason)


def _after_probe(right: Array, worth: Sequence[Array]) -> float:
    """What is to be expected if futures that look alike after the probe go on as far as is best for them.

    Alike is where the likeliest answer is about as likely. Source: the regression of Longstaff and Schwartz 2001, with
    bins.
    """
    edges = np.quantile(right, np.arange(1, _BINS) / _BINS)
    alike = np.searchsorted(edges, right)
    sums = np.array([np.bincount(alike, values, _BINS) for values in worth])
    return float(sums.max(axis=0).sum() / len(right))


def _steps(first: int, most: int) -> list[int]:
    """Powers of two from `first`, below `most`, and `most`."""
    powers = [1 << i for i in range(most.bit_length()) if first <= 1 << i < most]
    return [*powers, most] if most else []


def _rule(ahead: Ahead, verifier: bool, k: int) -> Rule:
    """The rule whose choice is the likeliest to be right; of equals the simplest."""
    return max(rules(verifier, k), key=lambda rule: round(float(ahead.selected(rule).mean()), 9))


def _seen(evidence: Evidence, accuracy: float, ranked: Places, k: int) -> str:
    drawn = _samples(evidence.drawn)
    if not evidence.votes:
        return (
            "The only sample has no answer: " if evidence.drawn == 1 else f"None of {drawn} has an answer: "
        )
    if k > 1:
        return f"After {drawn} one of the {k} likeliest answers is right with {_percent(accuracy)}: "
    votes = evidence.votes[ranked[0]]
    if votes == evidence.drawn:
        agreed = (
            "The only sample gives an answer that" if votes == 1 else f"All {drawn} agree on an answer that"
        )
        return f"{agreed} is right with {_percent(accuracy)}: "
    return (
        f"{votes} of {drawn} give{'s' * (votes == 1)} the likeliest answer, right with {_percent(accuracy)}: "
    )


def _outlook(drawn: int, gains: dict[int, float], total: int, more: int, least_gain: float) -> str:
    if not gains:
        if drawn >= MOST_EVIDENCE:
            return f"{_samples(drawn)} of a prompt are the most that are reckoned with."
        return "the plan's one sample is drawn." if drawn == 1 else f"the plan's {_samples(drawn)} are drawn."
    if total:
        added, each = 100 * gains[total], 100 * gains[total] / total
        now = f" ({more} of them now)" if more < total else ""
        return f"{total} more{now} would add {added:.1f} points, {each:.1f} each."
    each = 100 * max(gain / n for n, gain in gains.items())
    return f"more would add {each:.1f} points each at most, and {100 * least_gain:g} is the least that is worth it."


def _samples(number: int) -> str:
    return "1 sample" if number == 1 else f"{number} samples"


def _percent(chance: float) -> str:
    return "more than 99 %" if chance > 0.995 else f"{100 * chance:.0f} %"
