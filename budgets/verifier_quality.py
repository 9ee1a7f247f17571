"""How well a verifier tells right responses from wrong ones: its scores of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from budgets.difficulty import Array

_LEVELS = 128
_REACH = 8.5
_STEP = 0.12
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The scores of right and of wrong responses, at points of rising score.

    `right` and `wrong` are the masses at each point, `right_below` and `wrong_below` the chances of a lower score. With
    `atoms` every point is one score that many share; else points are nodes of a quadrature over a density.
    """

    score: Array
    right: Array
    wrong: Array
    right_below: Array
    wrong_below: Array
    atoms: bool

    def spread(self) -> Grid:
        """The same with ties broken at random: atoms become densities, by Gauss–Legendre nodes within each."""
        return _spread(self) if self.atoms else self

    def softened(self, temperature: float) -> Grid:
        """Of the score plus temperature times Gumbel noise: its argmax is a draw ∝ exp(score / temperature).

        Source: the Gumbel-max trick; Kool et al. 1903.06059.
        """
        return _softened(self, temperature)


@lru_cache(256)
def _spread(grid: Grid) -> Grid:
    place, weight = np.polynomial.legendre.leggauss(max(4, 192 // len(grid.score)))
    place, weight = (place + 1) / 2, weight / 2

    def within(below: Array, mass: Array) -> Array:
        return (below[:, None] + mass[:, None] * place).ravel()

    return Grid(
        np.repeat(grid.score, len(place)),
        np.outer(grid.right, weight).ravel(),
        np.outer(grid.wrong, weight).ravel(),
        within(grid.right_below, grid.right),
        within(grid.wrong_below, grid.wrong),
        atoms=False,
    )


@lru_cache(256)
def _softened(grid: Grid, temperature: float) -> Grid:
    scaled = grid.score / temperature
    points = np.arange(scaled.min() - 4.0, scaled.max() + 40.0, 0.2)
    beyond = points[:, None] - scaled
    below = np.exp(-np.exp(-np.clip(beyond, -6.0, None)))
    density = below * np.exp(-np.clip(beyond, -6.0, None)) * 0.2
    right, wrong = grid.right / grid.right.sum(), grid.wrong / grid.wrong.sum()
    return Grid(
        points * temperature, density @ right, density @ wrong, below @ right, below @ wrong, atoms=False
    )


@dataclass(frozen=True, slots=True)
class Binormal:
    """The logit of the score is normal, with a mean and a standard deviation for right and for wrong responses."""

    mean_right: float
    mean_wrong: float
    sd_right: float = 1.0
    sd_wrong: float = 1.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.mean_right, self.mean_wrong))):
            raise ValueError("mean_right and mean_wrong must be finite numbers.")
        if not all(_LEAST_SPREAD <= sd < math.inf for sd in (self.sd_right, self.sd_wrong)):
            raise ValueError(f"sd_right and sd_wrong must be {_LEAST_SPREAD:g} at least, and finite.")

    @classmethod
    def of_auc(cls, auc: float) -> Binormal:
        """Equal spreads, `auc` the chance that a right response scores above a wrong one, 0.001 to 0.999.

        The score is calibrated: the probability of being right where half of the responses are. d′ = √2·Φ⁻¹(auc).
        """
        if not 1e-3 <= auc <= 1 - 1e-3:
            raise ValueError(f"auc is {auc:g}; choose 0.001 to 0.999.")
        apart = math.sqrt(2) * float(ndtri(auc))
        return cls(
            *(sign * apart * abs(apart) / 2 for sign in (1, -1)), *[max(abs(apart), _LEAST_SPREAD)] * 2
        )

    @property
    def auc(self) -> float:
        return float(ndtr((self.mean_right - self.mean_wrong) / math.hypot(self.sd_right, self.sd_wrong)))

    def rates(self, threshold: float = 0.5) -> Rates:
        """Shares of right and of wrong responses with a score of `threshold` or more."""
        if not 0 <= threshold <= 1:
            return Rates(float(threshold < 0), float(threshold < 0))
        at = logit(threshold)
        return Rates(
            float(ndtr((self.mean_right - at) / self.sd_right)),
            float(ndtr((self.mean_wrong - at) / self.sd_wrong)),
        )

    def grid(self, below: float | None = None) -> Grid:
        """Nodes over the scores, those under `below` alone where it is given."""
        return _binormal_grid(self, below)

    def rounded(self, count: int) -> tuple[Array, Array]:
        """Masses of right and of wrong scores at 0, 1/count, …, 1, each score read to the nearest."""
        edges = np.concatenate([[-np.inf], logit((np.arange(count) + 0.5) / count), [np.inf]])
        return (
            np.diff(ndtr((edges - self.mean_right) / self.sd_right)),
            np.diff(ndtr((edges - self.mean_wrong) / self.sd_wrong)),
        )


@lru_cache(512)
def _binormal_grid(quality: Binormal, below: float | None) -> Grid:
    means = np.array([quality.mean_right, quality.mean_wrong])
    sds = np.array([quality.sd_right, quality.sd_wrong])
    low, high = float((means - _REACH * sds).min()), float((means + _REACH * sds).max())
    if below is None or below >= 1:
        step = _STEP * float(sds.min())
        points = np.arange(low, high + step, step)
        weights = np.full(len(points), step)
    else:
        top = min(high, float(logit(below))) if below > 0 else low
        nodes, weights = np.polynomial.legendre.leggauss(128)
        half = max(0.0, top - low) / 2
        points, weights = low + half * (nodes + 1), weights * half
    z = (points - means[:, None]) / sds[:, None]
    mass = np.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * sds[:, None]) * weights
    under = ndtr(z)
    return Grid(expit(points), mass[0], mass[1], under[0], under[1], atoms=False)


@dataclass(frozen=True, slots=True)
class Empirical:
    """Measured scores of right and of wrong responses, one of each at least. Equal scores are ties."""

    right: tuple[float, ...]
    wrong: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, scores in (("right", self.right), ("wrong", self.wrong)):
            if not scores or not all(map(math.isfinite, scores)):
                raise ValueError(f"{name} needs one score at least, and finite ones.")

    @property
    def auc(self) -> float:
        grid = self.grid()
        return float(grid.right @ (grid.wrong_below + grid.wrong / 2))

    def rates(self, threshold: float = 0.5) -> Rates:
        """Shares of right and of wrong responses with a score of `threshold` or more."""
        return Rates(*(float(np.mean(np.array(scores) >= threshold)) for scores in (self.right, self.wrong)))

    def grid(self, below: float | None = None) -> Grid:
        """The scores, in up to 128 levels; those under `below` alone where it is given."""
        return _empirical_grid(self, below)

    def rounded(self, count: int) -> tuple[Array, Array]:
        """Masses of right and of wrong scores at 0, 1/count, …, 1, each score read to the nearest.

        Where a score lies outside [0, 1], all go through a sigmoid first, as in `best_of_n`.
        """
        scores = [np.array(self.right), np.array(self.wrong)]
        if min(s.min() for s in scores) < 0 or max(s.max() for s in scores) > 1:
            scores = [expit(s) for s in scores]
        right, wrong = (
            np.bincount(np.rint(s * count).astype(int), minlength=count + 1) / len(s) for s in scores
        )
        return right, wrong


@lru_cache(512)
def _empirical_grid(quality: Empirical, below: float | None) -> Grid:
    right, wrong = np.sort(quality.right), np.sort(quality.wrong)
    levels = np.unique(np.concatenate([right, wrong]))
    if len(levels) > _LEVELS:
        ranks = np.linspace(0, len(levels) - 1, _LEVELS).round().astype(int)
        levels = levels[ranks]
    under = levels if below is None else np.append(levels[levels < below], below)
    right_upto, wrong_upto = (
        np.searchsorted(s, under, "right" if below is None else "left") / len(s) for s in (right, wrong)
    )
    if below is not None:  # all but the last count scores up to their level, the last those under `below`
        inner = levels[levels < below]
        right_upto[:-1], wrong_upto[:-1] = (
            np.searchsorted(s, inner, "right") / len(s) for s in (right, wrong)
        )
    right_below, wrong_below = (np.concatenate([[0.0], upto[:-1]]) for upto in (right_upto, wrong_upto))
    return Grid(
        under, right_upto - right_below, wrong_upto - wrong_below, right_below, wrong_below, atoms=True
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """A verifier that accepts (score 1) or rejects (score 0): `tpr` of the right responses, `fpr` of the wrong ones."""

    tpr: float
    fpr: float

    def __post_init__(self) -> None:
        for name, value in (("tpr", self.tpr), ("fpr", self.fpr)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value:g}; choose 0 to 1.")

    @property
    def auc(self) -> float:
        return (1 + self.tpr - self.fpr) / 2

    def rates(self, threshold: float = 0.5) -> Rates:
        """Shares of right and of wrong responses with a score of `threshold` or more."""
        if 0 < threshold <= 1:
            return self
        return Rates(float(threshold <= 0), float(threshold <= 0))

    def grid(self, below: float | None = None) -> Grid:
        """The two scores; those under `below` alone where it is given."""
        kept = sum(score < (math.inf if below is None else below) for score in (0, 1))
        mass = np.array([[1 - self.tpr, self.tpr], [1 - self.fpr, self.fpr]])[:, :kept]
        under = np.array([[0.0, 1 - self.tpr], [0.0, 1 - self.fpr]])[:, :kept]
        return Grid(np.arange(kept, dtype=float), mass[0], mass[1], under[0], under[1], atoms=True)

    def rounded(self, count: int) -> tuple[Array, Array]:
        """Masses of right and of wrong scores at 0, 1/count, …, 1."""
        right, wrong = np.zeros(count + 1), np.zeros(count + 1)
        right[[0, -1]] = 1 - self.tpr, self.tpr
        wrong[[0, -1]] = 1 - self.fpr, self.fpr
        return right, wrong


VerifierQuality = Binormal | Empirical | Rates
CERTAIN = Rates(1.0, 0.0)
"""A check that is never wrong: tests, or a reference answer."""
