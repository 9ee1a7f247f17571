"""How long responses are, and what a cap on their length leaves of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from budgets.difficulty import Array


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Lengths in tokens whose natural logarithm is normal with `mean` and `sd`."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.sd < math.inf):
            raise ValueError("mean must be a finite number, and sd above 0 and finite.")

    def finished(self, cap: float | Sequence[float]) -> Array:
        """The share of responses that end within `cap` tokens."""
        return np.asarray(ndtr((np.log(_caps(cap)) - self.mean) / self.sd))

    def tokens(self, cap: float | Sequence[float]) -> Array:
        """Mean tokens of a response cut at `cap`: E[min(length, cap)]."""
        log_cap = np.log(_caps(cap))
        z = (log_cap - self.mean) / self.sd
        whole = math.exp(min(700.0, self.mean + self.sd**2 / 2))
        return np.asarray(whole * ndtr(z - self.sd) + np.exp(log_cap) * ndtr(-z))

    def quantile(self, share: float) -> float:
        """The length within which `share` of the responses end, above 0 and below 1."""
        if not 0 < share < 1:
            raise ValueError(f"share is {share:g}; choose above 0 and below 1.")
        return math.exp(min(700.0, self.mean + self.sd * float(ndtri(share))))


@dataclass(frozen=True, slots=True)
class Measured:
    """Lengths as the Kaplan–Meier estimate has them: at `lengths`, rising, `ended` of all have ended, rising.

    Past the last length no more end: of responses that were cut nothing more is known. Source: Kaplan and Meier 1958.
    """

    lengths: tuple[float, ...]
    ended: tuple[float, ...]

    @classmethod
    def of(cls, finished: Sequence[float], cut: Sequence[float] = ()) -> Measured:
        """From the lengths of responses that ended, one at least, and of those that were cut."""
        if not finished or min([*finished, *cut]) < 0:
            raise ValueError("Give the length of one finished response at least, and no negative ones.")
        ends, stops = np.sort(np.asarray(finished, float)), np.sort(np.asarray(cut, float))
        lengths, deaths = np.unique(ends, return_counts=True)
        at_risk = (len(ends) - np.searchsorted(ends, lengths)) + (
            len(stops) - np.searchsorted(stops, lengths)
        )
        ended = 1 - np.cumprod(1 - deaths / at_risk)
        return cls(tuple(lengths.tolist()), tuple(ended.tolist()))

    def finished(self, cap: float | Sequence[float]) -> Array:
        """The share of responses that end within `cap` tokens."""
        place = np.searchsorted(np.asarray(self.lengths), _caps(cap), "right")
        return np.concatenate([[0.0], self.ended])[place]

    def tokens(self, cap: float | Sequence[float]) -> Array:
        """Mean tokens of a response cut at `cap`: E[min(length, cap)]."""
        lengths, caps = np.asarray(self.lengths), _caps(cap)
        begin, end = np.concatenate([[0.0], lengths]), np.concatenate([lengths, [math.inf]])
        still = 1 - np.concatenate([[0.0], self.ended])
        spans = np.clip(np.minimum(caps[..., None], end) - begin, 0.0, None)
        return np.asarray(spans @ still)


Lengths = LogNormal | Measured


@dataclass(frozen=True, slots=True)
class Reach:
    """What a cap leaves: shares of right and of wrong responses that end, relative to those that did when fitted."""

    right: float
    wrong: float


def reach(right: Lengths, wrong: Lengths, cap: float, fitted_at: float = math.inf) -> Reach:
    """`right_reach` and `wrong_reach` of a `Task` at `cap` tokens a sample.

    `fitted_at`: the cap under which the difficulty was measured, where unfinished samples counted as wrong. Above it,
    no more is promised than at it.
    """
    return Reach(*(_relative(lengths, cap, fitted_at) for lengths in (right, wrong)))


def _relative(lengths: Lengths, cap: float, fitted_at: float) -> float:
    whole = float(lengths.finished(fitted_at)) if fitted_at < math.inf else 1.0
    return min(1.0, float(lengths.finished(cap)) / whole) if whole > 0 else 0.0


def _caps(cap: float | Sequence[float]) -> Array:
    caps = np.asarray(cap, dtype=float)
    if not np.all(caps > 0):
        raise ValueError("A cap on the length must be above 0 tokens.")
    return caps
