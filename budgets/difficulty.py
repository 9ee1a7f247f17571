"""How hard a task's problems are: the distribution of p, the probability that one sample is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, digamma, zeta

Array = NDArray[np.floating[Any]]

_STEP = 0.3
_FARTHEST = 40.0
_NEGLIGIBLE = math.log(1e-16)


@dataclass(frozen=True, slots=True)
class Beta:
    """p ~ Beta(a, b), a and b above 0: one number for each problem, the same for all of its samples.

    Source: 2510.05197; the Beta-binomial model of repeated samples.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        for name, value in (("a", self.a), ("b", self.b)):
            if not 1e-3 <= value <= 1e6:
                raise ValueError(f"{name} of Beta is {value:g}; choose 0.001 to 1,000,000.")

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    def given(self, right: float, samples: float) -> Beta:
        """What is known of a problem once `right` of its `samples` were right: Beta(a + right, b + samples - right)."""
        if not 0 <= right <= samples:
            raise ValueError(f"{right:g} of {samples:g} samples cannot be right; give 0 to {samples:g}.")
        return Beta(self.a + right, self.b + samples - right)

    def nodes(self) -> tuple[Array, Array]:
        """Values of p, 0 and 1 among them, and weights that add up to 1 (those at 0 and 1 may be negative).

        Σ w·f(p) is E[f(p)] to 1e-9 for f = (1-p)^N up to N = 1,000 and functions no steeper: the trapezoid rule over
        logit(p), whose error falls exponentially, after the line through f(0) and f(1) has been taken out. About
        100 nodes; Gauss–Jacobi would need as many, and others for each a and b.
        """
        return _beta_nodes(self.a, self.b)


@dataclass(frozen=True, slots=True)
class Point:
    """Every problem is solved by a sample with the same probability p, 0 to 1."""

    p: float

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is {self.p:g}; choose 0 to 1.")

    @property
    def mean(self) -> float:
        return self.p

    def nodes(self) -> tuple[Array, Array]:
        return np.array([self.p]), np.ones(1)


Difficulty = Beta | Point


def expectation(difficulty: Difficulty, value: Callable[[Array], Array]) -> Array:
    """E[value(p)] over problems. `value` takes the nodes of p, (P,), and gives (P,) or (P, …); the answer is (…)."""
    p, weights = difficulty.nodes()
    return np.asarray(np.tensordot(weights, value(p), axes=(0, 0)))


@lru_cache(4096)
def _beta_nodes(a: float, b: float) -> tuple[Array, Array]:
    spread = math.sqrt(zeta(2, a) + zeta(2, b))  # trigamma(x) = ζ(2, x)
    centre = float(digamma(a) - digamma(b))
    step = min(_STEP, spread / 1.6)
    low, high = max(-_FARTHEST, centre - 40 * spread), min(_FARTHEST, centre + 40 * spread)
    logit = np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
    log_p, log_q = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
    log_weight = a * log_p + b * log_q - betaln(a, b) + math.log(step)
    # What remains of f beyond its line through the ends is of the order of p near 0, and of 1 - p near 1.
    kept = log_weight + np.minimum(log_p, log_q) > _NEGLIGIBLE
    p, q, weights = np.exp(log_p[kept]), np.exp(log_q[kept]), np.exp(log_weight[kept])
    at_zero = b / (a + b) - weights @ q
    at_one = a / (a + b) - weights @ p
    nodes = np.concatenate([[0.0], p, [1.0]])
    weights = np.concatenate([[at_zero], weights, [at_one]])
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights
