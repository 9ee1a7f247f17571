"""Expected accuracies kept as curves over p, so that a difficulty not seen before costs a product, not a computation.

A task's wrong answers, verifier and lengths change with a calibration; its difficulty changes with every answer that is
told to be right or wrong, and with every hint. So what is kept is the accuracy at each p of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import betaincinv, expit, logit

from budgets.difficulty import Array, Beta, Difficulty, Point
from budgets.fitting import DifficultyFit
from budgets.prediction import CURVES, DEFAULTS, Options, Strategy, Task
from budgets.verifier_quality import VerifierQuality
from budgets.voting import EXACT_ANSWERS
from budgets.wrong_answers import WrongAnswers

_STEP = 0.15
_FARTHEST = 94
_GRID = np.concatenate([[0.0], expit(_STEP * np.arange(-_FARTHEST, _FARTHEST + 1)), [1.0]])
_THIN = 4
"""For many answers, each of which costs, every so many points are worked out; those between are interpolated."""
_REACHES = 1000
"""Reaches are read to 1/1000, so that lengths that hardly differ share a curve: 0.05 points at most."""
_HINT = 0.1
_RANKS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A verifier's quality as a key: thousands of measured scores are slow to compare, one object is not."""

    quality: VerifierQuality


@lru_cache(1024)
def judged(quality: VerifierQuality) -> Judged:
    """The same object for equal qualities."""
    return Judged(quality)


class Curve:
    """The accuracy at each p of the grid, for each number of samples that was asked for."""

    def __init__(self, strategy: Strategy, task: Task, options: Options) -> None:
        self.strategy, self.task, self.options = strategy, task, options
        # Replaced as a whole, so that threads see one or the other.
        self._known: tuple[Mapping[int, int], Array] = {}, np.zeros((0, len(_GRID)))

    def mean(self, samples: Sequence[int], difficulty: Difficulty) -> Array:
        """The expected accuracy at each number of samples: (len(samples),)."""
        places, accuracy = self._known
        new = [n for n in samples if n not in places]
        if new:
            fresh = [self._row(n) for n in new]
            places = {**places, **{n: len(accuracy) + i for i, n in enumerate(new)}}
            accuracy = np.concatenate([accuracy, fresh])
            self._known = places, accuracy
        # Not a matrix product, whose last digits depend on how many rows there are.
        asked = [places[n] for n in samples]
        # Mostly those that were asked for first: they need no copy.
        rows = accuracy[: len(asked)] if asked == [*range(len(asked))] else accuracy[asked]
        found = np.einsum("np,p->n", rows, grid_weights(difficulty))
        return np.asarray(np.minimum(np.maximum(found, 0.0), 1.0))  # np.clip takes several times as long

    def _row(self, samples: int) -> Array:
        """The accuracy at each p of the grid: (G,)."""
        predicted = CURVES[self.strategy]
        if self.options.k <= EXACT_ANSWERS:
            return predicted(self.task, _GRID, samples, self.options)
        inner = np.arange(len(_GRID) - 2)
        kept = np.concatenate([[0], 1 + inner[::_THIN], [len(_GRID) - 1]])
        found = predicted(self.task, _GRID[kept], samples, self.options)
        between = PchipInterpolator(inner[::_THIN], found[1:-1])(inner)
        return np.concatenate([found[:1], between, found[-1:]])


def curve(strategy: Strategy, task: Task, verifier: Judged, options: Options = DEFAULTS) -> Curve:
    """The kept curve, whose `mean` is `prediction.expected_accuracy` to 0.001, whatever the task's difficulty is.

    `verifier`: the task's, as `judged` has it.
    """
    right, wrong = (round(share * _REACHES) / _REACHES for share in (task.right_reach, task.wrong_reach))
    return _kept(strategy, task.wrong, verifier, right, wrong, options)


@lru_cache(1 << 14)  # six models with two verifiers have 5,600 for 1, 2, 16 and 128 answers
def _kept(
    strategy: Strategy,
    wrong: WrongAnswers,
    verifier: Judged,
    right_reach: float,
    wrong_reach: float,
    options: Options,
) -> Curve:
    return Curve(strategy, Task(Point(0.5), wrong, verifier.quality, right_reach, wrong_reach), options)


def grid() -> Array:
    """The values of p at which curves are kept, 0 and 1 among them."""
    return _GRID


@lru_cache(4096)
def grid_weights(difficulty: Difficulty) -> Array:
    """Weights that add up to 1 and with which a function on the grid gives its mean over problems.

    The nodes of the difficulty, each shared out among the four grid points around it as cubic interpolation over
    logit(p) does; beyond the grid, by a line to 0 or 1.
    """
    p, weights = difficulty.nodes()
    found = np.zeros(len(_GRID))
    first, last = _GRID[1], _GRID[-2]
    low, high = p < first, p > last
    for outside, share, inner, end in ((low, p / first, 1, 0), (high, (1 - p) / (1 - last), -2, -1)):
        found[inner] += weights[outside] @ share[outside]
        found[end] += weights[outside] @ (1 - share[outside])
    inside = ~(low | high)
    place = logit(p[inside]) / _STEP + _FARTHEST
    left = np.clip(np.floor(place + 1e-9).astype(int), 1, 2 * _FARTHEST - 2)
    t = place - left
    shares = (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    places = np.concatenate([left + offset + 1 for offset in (-1, 0, 1, 2)])
    found += np.bincount(places, np.concatenate([weights[inside] * share for share in shares]), len(found))
    found.flags.writeable = False
    return found


@lru_cache(1024)
def hinted(fit: DifficultyFit, difficulty: float) -> DifficultyFit:
    """The difficulty of one prompt, of which `difficulty` says where it lies among the task's: 0 easiest, 1 hardest.

    Its p is one of those whose rank is within 0.1 of the (1 - difficulty) quantile, all as likely: a Beta of their mean
    and variance. What is uncertain about the task's Beta carries over to first order.
    """
    low, high = max(0.0, 1 - difficulty - _HINT), min(1.0, 1 - difficulty + _HINT)
    ranks = low + (high - low) * (np.arange(_RANKS) + 0.5) / _RANKS

    def around(beta: Beta) -> tuple[float, float]:
        p = betaincinv(beta.a, beta.b, ranks)
        mean = float(np.clip(p.mean(), 1e-6, 1 - 1e-6))
        size = mean * (1 - mean) / max(float(p.var()), 1e-9) - 1
        return float(logit(mean)), float(np.log(np.clip(size, 1e-2, 1e5)))

    def beta_at(mean: float, size: float) -> Beta:
        total = float(np.exp(size))
        return Beta(*(min(1e6, max(1e-3, total * float(expit(side)))) for side in (mean, -mean)))

    moves = np.linalg.cholesky(np.asarray(fit.covariance)).T
    columns = [
        (np.array(around(fit.moved(*move))) - np.array(around(fit.moved(*-move)))) / 2 for move in moves
    ]
    covariance = sum(np.outer(column, column) for column in columns) + 1e-6 * np.eye(2)
    first, second = covariance.tolist()
    return DifficultyFit(beta_at(*around(fit.beta)), (tuple(first), tuple(second)))
