"""What a cap on the length leaves of a task, where some problems take longer than others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from budgets.difficulty import Array
from budgets.fitting import DifficultyFit
from budgets.lengths import LogNormal

_NODES = 64
_LEAST_SD = 1e-3


@dataclass(frozen=True, slots=True)
class Cut:
    """Of all problems a share `solvable` can be answered within the cap; there `right` of the right responses end, and
    `wrong` of the wrong ones. The other problems are lost, however often they are sampled."""

    solvable: float
    right: float
    wrong: float

    def difficulty(self, fit: DifficultyFit) -> DifficultyFit:
        """The difficulty where p is 0 for the problems that are lost: the Beta of the same mean and variance."""
        if self.solvable > 1 - 1e-6:
            return fit
        a, b = fit.beta.a, fit.beta.b
        mean, square = self.solvable * a / (a + b), self.solvable * a * (a + 1) / ((a + b) * (a + b + 1))
        size = (mean - square) / (square - mean * mean)
        by = math.log(mean / (1 - mean)) - math.log(a / b), math.log(size) - math.log(a + b)
        return DifficultyFit(fit.moved(*by), fit.covariance)


@lru_cache(1024)
def cut(right: LogNormal, wrong: LogNormal, alike: float, cap: float, fitted_at: float = math.inf) -> Cut:
    """What `cap` tokens a sample leave, relative to `fitted_at`, the cap under which the difficulty was measured, above
    which no more is promised. `alike`: the share of the variance of log lengths that lies between problems, 0 to 1.

    Let r be a problem's share of right responses that end. The two-point distribution on 0 and `right` with the mean
    and variance of r stands in for its own: one sample is as often right as with the latter, and so are two.
    """
    if not cap > 0:
        raise ValueError("A cap on the length must be above 0 tokens.")
    ends, weights = _ending(right, alike, cap, fitted_at)
    ends_wrong, _ = _ending(wrong, alike, cap, fitted_at)
    mean, square = float(weights @ ends), float(weights @ ends**2)
    if mean < 1e-9:
        return Cut(1.0, 0.0, 0.0)
    return Cut(min(1.0, mean * mean / square), square / mean, float(weights @ (ends * ends_wrong)) / mean)


def _ending(lengths: LogNormal, alike: float, cap: float, fitted_at: float) -> tuple[Array, Array]:
    """The share of responses that end within the cap, of those within `fitted_at`, at some problems; their weights."""
    between = lengths.mean + lengths.sd * math.sqrt(alike) * ndtri((np.arange(_NODES) + 0.5) / _NODES)
    within = max(_LEAST_SD, lengths.sd * math.sqrt(1 - alike))
    whole = ndtr((math.log(fitted_at) - between) / within)
    ends = ndtr((math.log(min(cap, fitted_at)) - between) / within)
    if not whole.sum() > 0:
        return np.ones(_NODES), np.full(_NODES, 1 / _NODES)
    return np.divide(ends, whole, out=np.zeros(_NODES), where=whole > 0), whole / whole.sum()


def alikeness(lengths: list[tuple[list[float], list[float]]]) -> float:
    """`alike` from the lengths of right and of wrong responses to each problem that ended: analysis of variance.

    Right and wrong are compared with their own means. 0.5 where no problem has two that ended.
    """
    sides = [np.log([length for pair in lengths for length in pair[side]] or [1.0]).mean() for side in (0, 1)]
    problems = [
        np.concatenate([np.log(np.asarray(pair[side], dtype=float)) - sides[side] for side in (0, 1)])
        for pair in lengths
    ]
    several = [one for one in problems if len(one) > 1]
    if not several:
        return 0.5
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in several) / sum(
        len(one) - 1 for one in several
    )
    total = float(np.concatenate(several).var())
    return min(1.0, max(0.0, 1 - within / total)) if total > 1e-12 else 0.5
