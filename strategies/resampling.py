"""Resampling of particles: pure functions from weights and a generator to the indices of the survivors."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from types import MappingProxyType

Resample = Callable[[Sequence[float], int, Random], list[int]]
"""(weights, n, rng) → n indices, ascending. Weights are ≥ 0 and finite; where all are 0, all count as equal.

All are unbiased: index i appears n·w_i times on average, w the weights normalised.
Source of all four: Douc, Cappé and Moulines, Comparison of resampling schemes for particle filtering, cs/0507025.
"""


def multinomial(weights: Sequence[float], n: int, rng: Random) -> list[int]:
    """n independent draws."""
    return _invert(weights, sorted(rng.random() for _ in range(n)))


def stratified(weights: Sequence[float], n: int, rng: Random) -> list[int]:
    """One draw in each of n equal strata: index i appears at least ⌊n·w_i⌋ − 1 and at most ⌈n·w_i⌉ + 1 times."""
    return _invert(weights, [(i + rng.random()) / n for i in range(n)])


def systematic(weights: Sequence[float], n: int, rng: Random) -> list[int]:
    """One uniform offset for all strata: index i appears ⌊n·w_i⌋ or ⌈n·w_i⌉ times.

    In shuffled order, since weights that alternate in step with the strata would all be rounded the same way.
    """
    order = list(range(len(weights)))
    rng.shuffle(order)
    offset = rng.random()
    points = [(i + offset) / n for i in range(n)]
    return sorted(order[i] for i in _invert([weights[i] for i in order], points))


def residual(weights: Sequence[float], n: int, rng: Random) -> list[int]:
    """⌊n·w_i⌋ copies of each index i for sure, the rest multinomial on what is left."""
    shares = [n * weight for weight in normalised(weights)]
    sure = [math.floor(share + 1e-12) for share in shares]
    rest = [max(0.0, share - count) for share, count in zip(shares, sure, strict=True)]
    drawn = multinomial(rest, n - sum(sure), rng)
    return sorted([i for i, count in enumerate(sure) for _ in range(count)] + drawn)


RESAMPLERS: Mapping[str, Resample] = MappingProxyType(
    {
        "multinomial": multinomial,
        "systematic": systematic,
        "stratified": stratified,
        "residual": residual,
    }
)


def effective_sample_size(weights: Sequence[float]) -> float:
    """1 / Σ w_i², w normalised: from 1, all weight on one particle, to their number, all weights equal."""
    return 1 / sum(weight * weight for weight in normalised(weights))


def normalised(weights: Sequence[float]) -> list[float]:
    """Weights divided by their sum; equal ones where all are 0."""
    total = math.fsum(weights)
    return [weight / total for weight in weights] if total > 0 else [1 / len(weights)] * len(weights)


def _invert(weights: Sequence[float], points: Sequence[float]) -> list[int]:
    """The index whose part of [0, 1) each of the ascending points falls into; never one of weight 0."""
    shares = normalised(weights)
    edges = list(accumulate(shares))
    last = max(i for i, share in enumerate(shares) if share > 0)
    return [min(bisect_right(edges, point), last) for point in points]
