"""What one answer, known to be right or wrong, tells of a task's difficulty."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from budgets.difficulty import Array, Beta
from budgets.fitting import DifficultyFit
from budgets.prediction import DEFAULTS, Options, Strategy, expected_accuracy
from budgets.uncertainty import FittedTask

_NODES = (5, 3)
"""More for the mean, on which what is told depends most."""
_FARTHEST = np.array([6.5, 9.0])
_LEAST_VARIANCE = 1e-8


def told(
    fitted: FittedTask, strategy: Strategy, samples: int, correct: bool, options: Options = DEFAULTS
) -> DifficultyFit:
    """The difficulty after the answer that `strategy` gave to one prompt with so many samples was judged.

    (logit of the mean, log of a + b) is taken for normal; the answer is right with the expected accuracy of the
    strategy at each, and the posterior is replaced by the normal distribution with its mean and covariance: one step of
    assumed-density filtering, by a Gauss–Hermite rule. It stays within what a fit can be. Source: Minka 2001.
    """
    before = fitted.difficulty
    places, weights = _rule()
    lower = np.linalg.cholesky(np.asarray(before.covariance))
    tasks = [before.moved(*(lower @ place)) for place in places]
    accuracy = np.array([_accuracy(fitted, beta, strategy, samples, options) for beta in tasks])
    likelihood = np.clip(accuracy if correct else 1 - accuracy, 1e-9, None)
    posterior = weights * likelihood
    posterior /= posterior.sum()
    mean = posterior @ places
    spread = places - mean
    covariance = lower @ (spread.T @ (posterior[:, None] * spread)) @ lower.T
    return DifficultyFit(_moved(before.beta, lower @ mean), _safe(covariance))


def _accuracy(fitted: FittedTask, beta: Beta, strategy: Strategy, samples: int, options: Options) -> float:
    task = fitted.task
    moved = replace(task, difficulty=beta)
    return float(expected_accuracy(strategy, moved, [samples], options)[0])


def _moved(beta: Beta, by: Array) -> Beta:
    at = np.array([math.log(beta.a / beta.b), math.log(beta.a + beta.b)])
    to = np.clip(at + by, -_FARTHEST, _FARTHEST)
    return DifficultyFit(beta, ((1.0, 0.0), (0.0, 1.0))).moved(*(to - at))


def _safe(covariance: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (_, d) = ((covariance + covariance.T) / 2 + np.eye(2) * _LEAST_VARIANCE).tolist()
    return (a, b), (b, d)


@lru_cache(1)
def _rule() -> tuple[Array, Array]:
    """Points of a standard normal distribution in the plane, (15, 2), and their weights."""
    (x, a), (y, b) = (np.polynomial.hermite_e.hermegauss(nodes) for nodes in _NODES)
    places = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    return places, np.outer(a, b).ravel() / (a.sum() * b.sum())
