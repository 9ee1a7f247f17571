"""Fits of lengths to responses of which some were cut, and of coverage's power law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize
from scipy.special import expit, log_expit, log_ndtr

from budgets.accuracy import pass_at_k
from budgets.difficulty import Array
from budgets.lengths import LogNormal

_LEAST_SD = 0.02


@dataclass(frozen=True, slots=True)
class LengthFit:
    """Lengths of right and of wrong responses, with the standard errors of the two means of log length.

    `right_share`: the share of responses that would be right if none were cut.
    """

    right: LogNormal
    wrong: LogNormal
    right_share: float
    right_mean_sd: float
    wrong_mean_sd: float


def fit_lengths(right: Sequence[float], wrong: Sequence[float], cut: Sequence[float] = ()) -> LengthFit:
    """Maximum likelihood of two log-normal distributions: lengths of right and wrong responses that ended, and at what
    lengths others were cut, whose rightness nobody knows. Two at least that ended; a side with none is like the other.

    A normal prior (sd 1) on the difference of the two means, (sd 1) on the logs of the deviations, stands in where
    there is little data. Source: censored mixture likelihood, as for survival times.
    """
    given = [np.asarray(side, dtype=float) for side in (right, wrong, cut)]
    if len(given[0]) + len(given[1]) < 2 or not all(np.all((x >= 1) & (x < math.inf)) for x in given):
        raise ValueError("Give the lengths of two finished responses at least, all of 1 token or more.")
    *ends, stops = map(np.log, given)
    every = np.concatenate(ends)
    start = [float(every.mean()), 0.0, math.log(max(float(every.std()), 0.1)), 0.0, 0.0]
    start[4] = math.log((len(ends[0]) + 0.5) / (len(ends[1]) + 0.5))

    def loss(x: Array) -> float:
        means, sds = (
            (x[0] + x[1] / 2, x[0] - x[1] / 2),
            (math.exp(x[2] + x[3] / 2), math.exp(x[2] - x[3] / 2)),
        )
        shares = (log_expit(x[4]), log_expit(-x[4]))
        z = [(end - mean) / sd for end, mean, sd in zip(ends, means, sds, strict=True)]
        total = sum(
            len(part) * (share - math.log(sd)) - float((part * part).sum()) / 2
            for part, share, sd in zip(z, shares, sds, strict=True)
        )
        beyond = [
            share + log_ndtr(-(stops - mean) / sd) for share, mean, sd in zip(shares, means, sds, strict=True)
        ]
        total += float(np.logaddexp(*beyond).sum())
        return float(-total + (x[1] ** 2 + x[3] ** 2 + (x[2] + 1) ** 2 + x[4] ** 2 / 9) / 2)

    bounds = [(-5.0, 20.0), (-5.0, 5.0), (math.log(_LEAST_SD), 2.0), (-3.0, 3.0), (-8.0, 8.0)]
    x = minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
    sds = (math.exp(x[2] + x[3] / 2), math.exp(x[2] - x[3] / 2))
    errors = [sd / math.sqrt(max(1, len(end))) for sd, end in zip(sds, ends, strict=True)]
    return LengthFit(
        LogNormal(float(x[0] + x[1] / 2), sds[0]),
        LogNormal(float(x[0] - x[1] / 2), sds[1]),
        float(expit(x[4])),
        *errors,
    )


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """coverage(k) = exp(a·k^b), a and b negative; `error` is the root mean square of the fit's residuals.

    Source: Large Language Monkeys 2407.21787, equation 2. It says nothing of why, and nothing beyond the data.
    """

    a: float
    b: float
    error: float

    def coverage(self, samples: float | Sequence[float]) -> Array:
        """The share of problems that so many samples solve, where a certain check picks the right one."""
        return np.asarray(np.exp(self.a * np.asarray(samples, dtype=float) ** self.b))


def fit_power_law(right: Sequence[int], samples: Sequence[int]) -> PowerLaw:
    """Least squares on the mean unbiased pass@k over problems, k = 1, 2, 4, … up to the fewest samples of a problem.

    `right` of `samples` for each problem, 2 samples or more. Needs one right answer at least, and a problem unsolved.
    """
    if len(right) != len(samples) or not right or min(samples) < 2:
        raise ValueError("right and samples need one number for each problem, of 2 samples or more.")
    most = min(samples)
    ks = sorted({*(1 << i for i in range(most.bit_length()) if 1 << i <= most), most})
    seen = np.array([np.mean([pass_at_k(n, c, k) for c, n in zip(right, samples, strict=True)]) for k in ks])
    if not seen[0] > 0 or seen[-1] >= 1:
        raise ValueError(
            "A power law of coverage needs one right sample at least, and one problem left unsolved."
        )
    slope, level = np.polyfit(np.log(ks), np.log(-np.log(seen)), 1)
    x = np.asarray(ks, dtype=float)

    def missed(law: Array) -> Array:
        return np.asarray(np.exp(-np.exp(law[0]) * x ** law[1]) - seen)

    start = np.array([level, slope])
    found = least_squares(missed, start).x if len(ks) > 2 else start
    return PowerLaw(-math.exp(found[0]), float(found[1]), float(np.sqrt(np.mean(missed(found) ** 2))))
