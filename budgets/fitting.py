"""Fits of a task's numbers to samples: difficulty, wrong answers, verifier, lengths, and coverage's power law.

Each `…Fit` holds the estimate and what is uncertain about it; `budgets.uncertainty` carries that to accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import betaln, expit, ndtri

from budgets.difficulty import Array, Beta
from budgets.verifier_quality import Binormal, Empirical
from budgets.wrong_answers import Partitions, WrongAnswers

Z90 = float(ndtri(0.95))
_PRIOR_SD = 3.0
_DISCOUNTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
_PARTS = 5
_UNSURE_PAIRS = 2.0
_LEAST_SPREAD = 0.01
_ANSWERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96)


@dataclass(frozen=True, slots=True)
class DifficultyFit:
    """Beta(a, b) with the covariance of (logit of the mean, log of a + b)."""

    beta: Beta
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def moved(self, mean: float, size: float) -> Beta:
        """The Beta with so much added to the logit of its mean, and to the log of a + b."""
        logit = math.log(self.beta.a / self.beta.b) + mean
        total = math.exp(math.log(self.beta.a + self.beta.b) + size)
        a, b = total * float(expit(logit)), total * float(expit(-logit))
        return Beta(*(min(1e6, max(1e-3, part)) for part in (a, b)))

    @property
    def mean_interval(self) -> tuple[float, float]:
        """90 % interval of the mean accuracy of a sample."""
        logit, sd = math.log(self.beta.a / self.beta.b), math.sqrt(self.covariance[0][0])
        return float(expit(logit - Z90 * sd)), float(expit(logit + Z90 * sd))


def fit_difficulty(right: Sequence[int], samples: Sequence[int]) -> DifficultyFit:
    """Beta-binomial maximum likelihood from `right` of `samples` for each problem.

    A prior far wider than any data (normal with sd 3 on the logit of the mean and on the log of (a + b)/2) keeps the
    estimate finite where all are right, none is, or all problems are alike. Covariance: the inverse of the Hessian.
    Source: Griffiths 1973; 2510.05197.
    """
    c, n = np.asarray(right, dtype=float), np.asarray(samples, dtype=float)
    if c.shape != n.shape or not len(c) or np.any(c < 0) or np.any(c > n) or np.any(n < 1):
        raise ValueError(
            "right and samples need one number for each problem, right from 0 to samples, 1 or more."
        )
    pairs, times = np.unique(np.stack([c, n]), axis=1, return_counts=True)
    c, n = pairs

    def loss(x: Array) -> float:
        a, b = math.exp(x[1]) * expit(x[0]), math.exp(x[1]) * expit(-x[0])
        fit = times @ (betaln(a + c, b + n - c) - betaln(a, b))
        return float(-fit + x[0] ** 2 / (2 * _PRIOR_SD**2) + (x[1] - math.log(2)) ** 2 / (2 * _PRIOR_SD**2))

    mean = float((times @ c + 0.5) / (times @ n + 1))
    bounds = [(-6.5, 6.5), (-4.0, 9.0)]
    found = minimize(loss, [math.log(mean / (1 - mean)), math.log(2)], method="L-BFGS-B", bounds=bounds)
    total = math.exp(found.x[1])
    a, b = total * float(expit(found.x[0])), total * float(expit(-found.x[0]))
    first, second = np.linalg.inv(_hessian(loss, found.x)).tolist()
    return DifficultyFit(Beta(max(a, 1e-3), max(b, 1e-3)), (tuple(first), tuple(second)))


def _hessian(loss: Callable[[Array], float], at: Array, step: float = 1e-3) -> Array:
    """Second differences, made positive definite where a bound or rounding spoils that."""
    size = len(at)
    unit = np.eye(size) * step
    found = np.array(
        [
            [
                loss(at + unit[i] + unit[j])
                - loss(at + unit[i] - unit[j])
                - loss(at - unit[i] + unit[j])
                + loss(at - unit[i] - unit[j])
                for j in range(size)
            ]
            for i in range(size)
        ]
    ) / (4 * step * step)
    values, vectors = np.linalg.eigh((found + found.T) / 2)
    return np.asarray(vectors @ np.diag(np.maximum(values, 1 / _PRIOR_SD**2)) @ vectors.T)


@dataclass(frozen=True, slots=True)
class WrongAnswersFit:
    """Wrong answers, and the standard error of the log of their concentration (of the evenness, where finite)."""

    wrong: WrongAnswers
    log_sd: float

    def moved(self, by: float) -> WrongAnswers:
        """The same with `by` added to the log of the concentration."""
        factor = math.exp(by)
        if self.wrong.discount < 0:
            evenness = min(1e4, max(1e-4, -self.wrong.discount * factor))
            return WrongAnswers.even(round(self.wrong.answers), evenness)
        return WrongAnswers(min(1e6, max(1e-6, self.wrong.concentration * factor)), self.wrong.discount)


def fit_wrong_answers(problems: Sequence[Sequence[int]]) -> WrongAnswersFit:
    """Maximum likelihood over Pitman–Yor processes and symmetric Dirichlet distributions of up to 96 answers.

    `problems`: the counts of each problem's wrong answers, [5, 2, 1] say, whichever they are. A normal prior with sd 3
    on the log of the concentration over 4 (of the evenness) keeps it finite. Source: Ewens 1972; Pitman 2006.
    """
    seen = Partitions.of(problems)

    def best(family: Callable[[float], WrongAnswers], centre: float) -> tuple[float, float, float]:
        def loss(log: float) -> float:
            wrong = family(math.exp(log))
            prior = (log - centre) ** 2 / (2 * _PRIOR_SD**2)
            return prior - seen.log_likelihood(wrong.concentration, wrong.discount)

        found = minimize_scalar(loss, bounds=(-6.0, 7.0), method="bounded", options={"xatol": 1e-4})
        step, at = 0.05, float(found.x)
        curvature = (loss(at + step) + loss(at - step) - 2 * loss(at)) / step**2
        return float(found.fun), at, 1 / math.sqrt(max(curvature, 1 / _PRIOR_SD**2))

    families = [partial(_endless, discount) for discount in _DISCOUNTS]
    centres = [math.log(4)] * len(families)
    if seen.samples:
        even = [partial(WrongAnswers.even, answers) for answers in _ANSWERS if answers >= seen.most_answers]
        families += even
        centres += [0.0] * len(even)
    fits = [(*best(family, centre), family) for family, centre in zip(families, centres, strict=True)]
    _, log, sd, family = min(fits, key=lambda fit: fit[0])
    return WrongAnswersFit(family(math.exp(log)), sd)


def _endless(discount: float, concentration: float) -> WrongAnswers:
    return WrongAnswers(concentration, discount)


@dataclass(frozen=True, slots=True)
class VerifierFit:
    """A verifier's measured scores, the binormal model of the same AUC within problems, and that AUC's error.

    `normal`: whether the scores' logits look normal, so that the model, whose tails are smooth, predicts better than
    the scores themselves.
    """

    empirical: Empirical
    binormal: Binormal
    auc: float
    auc_sd: float
    normal: bool

    @property
    def parts(self) -> tuple[Empirical, ...]:
        """The scores in a few disjoint parts, whose differences tell how far to trust them."""
        right, wrong = self.empirical.right, self.empirical.wrong
        count = min(_PARTS, len(right), len(wrong))
        return tuple(Empirical(right[i::count], wrong[i::count]) for i in range(count))

    @property
    def auc_interval(self) -> tuple[float, float]:
        """90 % interval of the AUC."""
        return max(0.0, self.auc - Z90 * self.auc_sd), min(1.0, self.auc + Z90 * self.auc_sd)


def fit_verifier(right: Sequence[Sequence[float]], wrong: Sequence[Sequence[float]]) -> VerifierFit:
    """From the scores of right and of wrong responses, a sequence for each problem; scores in [0, 1], else any finite.

    The AUC compares responses to the same problem, as every strategy does; where no problem has both kinds, all are
    compared. It is shrunk towards 0.5 as if 2 pairs had said so: of few samples, all in order, little follows. Its
    error is that of the mean over problems, by their pairs; where fewer than 10 problems have both kinds, or all of
    them say the same, Hanley and McNeil's (1982); 0.005 at least. The binormal's means and deviations are those of the
    scores' logits, the means moved together or apart until its AUC is that one.
    """
    if len(right) != len(wrong):
        raise ValueError("right and wrong need one sequence of scores for each problem.")
    empirical = Empirical(*(tuple(float(s) for scores in side for s in scores) for side in (right, wrong)))
    both = [(np.asarray(r), np.asarray(w)) for r, w in zip(right, wrong, strict=True) if len(r) and len(w)]
    if not both:
        both = [(np.asarray(empirical.right), np.asarray(empirical.wrong))]
    pairs = np.array([len(r) * len(w) for r, w in both], dtype=float)
    aucs = np.array([_auc(r, w) for r, w in both])
    measured = float(pairs @ aucs / pairs.sum())
    told = float(pairs.sum())
    auc = (measured * told + 0.5 * _UNSURE_PAIRS) / (told + _UNSURE_PAIRS)
    sd = float(np.sqrt(((pairs * (aucs - measured)) ** 2).sum()) / pairs.sum())
    if len(both) < 10 or sd == 0:
        sd = hanley_mcneil(auc, sum(len(r) for r, _ in both), sum(len(w) for _, w in both))
    normal = all(_looks_normal(np.asarray(side)) for side in _logits(empirical))
    return VerifierFit(empirical, _binormal(empirical, auc), auc, max(sd, 0.005), normal)


def _looks_normal(values: Array) -> bool:
    """Whether skewness and excess kurtosis are near 0: as near as samples can tell, or within 0.25 and 0.5.

    A test that finds ever smaller departures in ever more samples would trade smooth tails for noisy ones.
    Source: the moments of Jarque and Bera 1980, at four standard errors.
    """
    size = len(values)
    z = (values - values.mean()) / max(1e-12, float(values.std()))
    skewness, kurtosis = abs(float((z**3).mean())), abs(float((z**4).mean()) - 3)
    return skewness < max(0.25, 4 * math.sqrt(6 / size)) and kurtosis < max(0.5, 4 * math.sqrt(24 / size))


def _auc(right: Array, wrong: Array) -> float:
    ordered = np.sort(wrong)
    ranks = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(ranks.mean() / (2 * len(wrong)))


def hanley_mcneil(auc: float, right: int, wrong: int) -> float:
    """The standard error of an AUC from so many scores of right and of wrong responses. Source: Hanley, McNeil 1982."""
    if not (0 <= auc <= 1 and right >= 1 and wrong >= 1):
        raise ValueError("auc must be 0 to 1, right and wrong 1 or more.")
    first, second = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (right - 1) * (first - auc**2) + (wrong - 1) * (second - auc**2)
    return math.sqrt(max(0.0, variance) / (right * wrong))


def _logits(scores: Empirical) -> list[Array]:
    """The logits of scores in [0, 1]; where any lies outside, the scores as they are."""
    sides = [np.asarray(side) for side in (scores.right, scores.wrong)]
    if min(s.min() for s in sides) < 0 or max(s.max() for s in sides) > 1:
        return sides
    return [np.log(s / (1 - s)) for s in (np.clip(side, 1e-6, 1 - 1e-6) for side in sides)]


def _binormal(scores: Empirical, auc: float) -> Binormal:
    sides = _logits(scores)
    # A few equal scores are no sign of a verifier without any spread.
    least = max(_LEAST_SPREAD, float(np.concatenate(sides).std()) / 20)
    means, sds = [float(s.mean()) for s in sides], [max(least, float(s.std())) for s in sides]
    apart = float(ndtri(min(0.999, max(0.001, auc)))) * math.hypot(*sds)
    middle = (means[0] + means[1]) / 2
    return Binormal(middle + apart / 2, middle - apart / 2, *sds)
