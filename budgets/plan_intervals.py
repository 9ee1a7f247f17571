"""90 % intervals of what is predicted of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit

from budgets.call_costs import UNITS, mean_tokens, spread_of_lengths
from budgets.curves import curve, judged
from budgets.difficulty import Array
from budgets.fitting import Z90
from budgets.plan_lines import Line
from budgets.plans import Interval
from budgets.prediction import Task
from budgets.uncertainty import _neighbours, _parts

MOVED_AT = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of samples at which wrong answers and verifier are moved: every move needs tables of its own."""
_PRICED_AT = 16
_MARGIN = 1e-6


def accuracy_interval(line: Line, samples: int) -> Interval:
    """As `uncertainty.accuracies` has it, over all problems; from kept curves.

    What is uncertain about wrong answers and verifier adds what it does at the nearest of `MOVED_AT`.
    """
    value = line.accuracies([samples])
    moved = [min(MOVED_AT, key=lambda n: abs(math.log(n / samples)))]
    base = line.fitted.task

    def at(task: Task) -> float:
        if task.difficulty != base.difficulty:
            return _logit(line.curve.mean([samples], task.difficulty))
        known = line.judged if task.verifier is base.verifier else judged(task.verifier)
        return _logit(curve(line.strategy, task, known, line.options).mean(moved, task.difficulty))

    variance = sum(
        ((at(upper) - at(lower)) / 2) ** 2
        for upper, lower in _neighbours(line.strategy, line.fitted, line.options)
    )
    parts = [at(part) for part in _parts(line.strategy, line.fitted)]
    if len(parts) > 1:
        variance += float(np.var(parts, ddof=1)) / len(parts)
    half, centre, mean = Z90 * math.sqrt(variance), _logit(value), float(value[0])
    return Interval(mean, min(mean, float(expit(centre - half))), max(mean, float(expit(centre + half))))


def cost_intervals(line: Line, samples: int, means: Mapping[str, float]) -> dict[str, Interval | None]:
    """The means with 90 % intervals at least: of this prompt's lengths, of when a sample is accepted, and of the
    latency factors, where seconds are predicted. None where nobody knows the mean.
    """
    spread = Z90 * spread_of_lengths(line.calls.fit, line.calls.alike, samples)
    ends = [
        _with_lengths(line, line.certain(drawn), sign * spread)
        for sign, drawn in zip((-1, 1), _drawn(line, samples), strict=True)
    ]
    found: dict[str, Interval | None] = {}
    for unit, mean in means.items():
        if math.isnan(mean):
            found[unit] = None
            continue
        low, high = min(ends[0][unit], mean), max(ends[1][unit], mean)
        if unit in ("seconds", "usd"):
            low, high = _with_factors(line, mean, low, high)
        found[unit] = Interval(mean, low, high)
    return found


def _with_lengths(line: Line, costs: Mapping[str, Array], by: float) -> dict[str, float]:
    """The costs where the log of all lengths is so much more; charges by a power law between the ends of 90 %."""
    calls, scoring = line.calls, line.scoring
    side = int(by > 0)
    base, moved = calls.table.of(_PRICED_AT), calls.ends[side].table.of(_PRICED_AT)
    if scoring:
        base, moved = base + scoring.table.of(_PRICED_AT), moved + scoring.ends[side].table.of(_PRICED_AT)
    known = base > 0
    slope = np.log(np.where(known, moved, 1.0) / np.where(known, base, 1.0)) / math.log(
        calls.ends[side].longer
    )
    found = {
        unit: float(costs[unit][0]) * math.exp(each * by) for unit, each in zip(UNITS, slope, strict=True)
    }
    verdict = scoring.generates if scoring else 0
    longer = mean_tokens(calls.fit, calls.cap, math.exp(by)) + verdict
    return {**found, "tokens": float(costs["tokens"][0]) * longer / (calls.tokens_each + verdict)}


def _drawn(line: Line, samples: int) -> tuple[int, int]:
    """The 5 % and 95 % quantiles of how many are drawn."""
    if line.strategy != "repeated_sampling":
        return samples, samples
    ends = [*((2 << wave) - 1 for wave in range((samples + 1).bit_length() - 1)), samples]
    stopped = 1 - line.goes_on(np.array(ends))
    low, high = (
        next((n for n, s in zip(ends, stopped, strict=True) if s >= q), samples) for q in (0.05, 0.95)
    )
    return low, high


def _with_factors(line: Line, mean: float, low: float, high: float) -> tuple[float, float]:
    """The interval with what is uncertain about the latency factors in it."""
    tariff = line.offer.tariff
    if tariff is None or not low > 0:
        return low, high
    share = line.calls.prompt_share
    pp, pd, dd = tariff.factors.variance
    variance = share**2 * pp + 2 * share * (1 - share) * pd + (1 - share) ** 2 * dd
    slack = Z90 * math.sqrt(max(0.0, variance) + tariff.factors.spread)
    return (
        mean * math.exp(-math.hypot(math.log(mean / low), slack)),
        mean * math.exp(math.hypot(math.log(high / mean), slack)),
    )


def _logit(accuracy: Array) -> float:
    return float(logit(np.clip(accuracy[0], _MARGIN, 1 - _MARGIN)))
