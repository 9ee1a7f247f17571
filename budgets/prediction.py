"""What a strategy's samples buy: its expected accuracy at N samples, from a task's fitted numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import betainc

from budgets.difficulty import Array, Difficulty
from budgets.verifier_quality import CERTAIN, Grid, VerifierQuality
from budgets.voting import (
    EXACT_ANSWERS,
    MOST_VOTES,
    average_wins,
    frequent_wins,
    majority_wins,
    weighted_wins,
)
from budgets.wrong_answers import WrongAnswers

Strategy = Literal["repeated_sampling", "majority", "best_of_n", "best_of_majority"]
MOST_SAMPLES = 100_000
_CELLS = 1 << 14
"""Chances worked out at a time: arrays that fit the processor's cache take a fraction of the time."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task's numbers for one model and one verifier.

    `right_reach` and `wrong_reach` are the shares of right and of wrong responses that end with an answer within the
    length given; p of the difficulty counts a response as right that would be right if it could end.
    """

    difficulty: Difficulty
    wrong: WrongAnswers
    verifier: VerifierQuality = CERTAIN
    right_reach: float = 1.0
    wrong_reach: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("right_reach", self.right_reach), ("wrong_reach", self.wrong_reach)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value:g}; choose 0 to 1.")


@dataclass(frozen=True, slots=True)
class Options:
    """A strategy's parameters that change what samples buy, with the strategies' own defaults.

    `k` answers are returned; right is any of them. `select` and `temperature` are best_of_n's, `alpha`
    best_of_majority's, `accept_at` repeated_sampling's.
    """

    k: int = 1
    select: Literal["argmax", "softmax", "weighted"] = "argmax"
    temperature: float = 1.0
    alpha: float = 0.1
    accept_at: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 128:
            raise ValueError(f"k is {self.k}; choose 1 to 128 answers.")
        if self.select not in ("argmax", "softmax", "weighted"):
            raise ValueError(f"select is {self.select}; choose argmax, softmax or weighted.")
        if not 1e-3 <= self.temperature <= 1e6:
            raise ValueError(f"temperature is {self.temperature:g}; choose 0.001 to 1,000,000.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha:g}; choose 0 to 1.")
        if not math.isfinite(self.accept_at):
            raise ValueError("accept_at must be a finite number.")


DEFAULTS = Options()
Curve = Callable[[Task, Array, int, Options], Array]


def expected_accuracy(
    strategy: Strategy, task: Task, samples: Sequence[int], options: Options = DEFAULTS
) -> Array:
    """The share of problems whose returned answers hold a right one, for each number of `samples`: (len(samples),).

    best_of_n by argmax or softmax and repeated_sampling are exact to 1e-6, votes to 0.003. Milliseconds at first,
    microseconds where the same was asked before; the array is read-only. ValueError names what is wrong.
    """
    if strategy not in CURVES:
        raise ValueError(f"Nothing is known of {strategy}'s accuracy; choose {', '.join(CURVES)}.")
    if any(not 1 <= n <= MOST_SAMPLES for n in samples):
        raise ValueError(f"samples must be 1 to {MOST_SAMPLES:,}.")
    return _expected(strategy, task, tuple(samples), options)


@lru_cache(8192)
def _expected(strategy: Strategy, task: Task, samples: tuple[int, ...], options: Options) -> Array:
    p, weights = task.difficulty.nodes()
    found = [float(weights @ CURVES[strategy](task, p, n, options)) for n in samples]
    accuracy = np.asarray(np.clip(found, 0.0, 1.0))
    accuracy.flags.writeable = False
    return accuracy


def outcomes(task: Task, p: Array) -> tuple[Array, Array]:
    """The chances that a sample ends with the right answer, and with a wrong one."""
    return p * task.right_reach, (1 - p) * task.wrong_reach


def best_of_n(task: Task, p: Array, samples: int, options: Options = DEFAULTS) -> Array:
    """P(a right response is among the k with the highest score), or the right answer among the k heaviest, at each p.

    Sources: order statistics, as in Cobbe et al. 2110.14168; softmax is argmax of the score with Gumbel noise.
    """
    right, wrong = outcomes(task, p)
    if options.select == "weighted":
        votes = min(samples, MOST_VOTES)
        wins = weighted_wins(task.wrong, task.verifier, _block(votes), options.k)
        return average_wins(wins, right, wrong, votes)
    grid = task.verifier.grid()
    if options.select == "softmax":
        grid = grid.softened(options.temperature)
    return highest(grid, right, wrong, samples, options.k)


def majority(task: Task, p: Array, samples: int, options: Options = DEFAULTS) -> Array:
    """P(the right answer is among the k most frequent) at each p. Source: self-consistency, 2203.11171."""
    votes = min(samples, MOST_VOTES)
    return average_wins(majority_wins(task.wrong, _block(votes), options.k), *outcomes(task, p), votes)


def best_of_majority(task: Task, p: Array, samples: int, options: Options = DEFAULTS) -> Array:
    """P(the right answer is among the k of highest mean reward of those with a share ≥ alpha). Source: 2510.03199."""
    votes = min(samples, MOST_VOTES)
    least = max(1, math.ceil(options.alpha * votes - 1e-9))
    wins = frequent_wins(task.wrong, task.verifier, votes, least, options.k)
    return average_wins(wins, *outcomes(task, p), votes)


def repeated_sampling(task: Task, p: Array, samples: int, options: Options = DEFAULTS) -> Array:
    """P(the first accepted response is right, or, where none is accepted, one of the k best of the rejected) at each p.

    For k > 1 the accepted one comes first and the best of the others, taken as all N, follow. With a certain verifier
    it is coverage, 1 - (1-p)^N. Source: 2411.17501; Large Language Monkeys 2407.21787.
    """
    right, wrong = outcomes(task, p)
    rates = task.verifier.rates(options.accept_at)
    accepted_right, accepted_wrong = right * rates.tpr, wrong * rates.fpr
    accepts = accepted_right + accepted_wrong
    share = np.divide(accepted_right, accepts, out=np.zeros_like(p), where=accepts > 0)
    found = share * -np.expm1(samples * np.log1p(-np.clip(accepts, 0.0, 1 - 1e-16)))
    rejected = task.verifier.grid(options.accept_at)
    if not len(rejected.score):
        return np.asarray(found)
    none = 1 - right - wrong
    return np.asarray(found + highest(rejected, right, wrong, samples, options.k, none))


def highest(
    grid: Grid, right: Array, wrong: Array, samples: int, k: int = 1, none: Array | None = None
) -> Array:
    """P(a right response is among the k highest scores of `samples`), at each chance of `right` and `wrong`, (P,).

    Where the grid lacks the scores above some mark, no sample may be there. `none`: the chance of no response.
    """
    none = np.clip(1 - right - wrong, 0.0, 1.0) if none is None else np.clip(none, 0.0, 1.0)
    grid = grid if k == 1 else grid.spread()
    rows = max(1, _CELLS // len(grid.score))
    parts = [slice(start, start + rows) for start in range(0, len(right), rows)]
    return np.concatenate([_highest(grid, right[at], wrong[at], samples, k, none[at]) for at in parts])


def _highest(grid: Grid, right: Array, wrong: Array, samples: int, k: int, none: Array) -> Array:
    a, b = right[:, None], wrong[:, None]
    below = none[:, None] + a * grid.right_below + b * grid.wrong_below
    if grid.atoms:
        mass = a * grid.right + b * grid.wrong
        share = np.divide(a * grid.right, mass, out=np.zeros_like(mass), where=mass > 0)
        upto = np.concatenate([below, below[:, -1:] + mass[:, -1:]], axis=1)
        return np.asarray((share * np.diff(_power(upto, samples))).sum(axis=1))
    below = np.clip(below, 0.0, 1.0)
    if k == 1:
        chance = _power(below, samples - 1)
    else:
        top = b * np.clip(float(np.sum(grid.wrong)) - grid.wrong_below, 0.0, 1.0)
        chance = _fewer_above(below, top, samples - 1, k)
    return np.asarray(samples * (a * grid.right * chance).sum(axis=1))


def _fewer_above(below: Array, above: Array, others: int, k: int) -> Array:
    """P(of so many others fewer than k are above and the rest below), of the chances that one is either."""
    if others < k:
        return _power(below + above, others)
    if k > EXACT_ANSWERS:
        either = np.maximum(below + above, np.finfo(float).tiny)
        return np.asarray(_power(either, others) * betainc(others - k + 1, k, below / either))
    found, risen = np.ones_like(below), np.ones_like(below)
    for m in range(1, k):
        risen *= above
        found = found * below + math.comb(others, m) * risen
    return found * _power(below, others - k + 1)


def _power(base: Array, exponent: int) -> Array:
    """For 0 to 1; several times as fast as `**`."""
    with np.errstate(divide="ignore"):
        return np.exp(exponent * np.log(base)) if exponent else np.ones_like(base)


def _block(votes: int) -> int:
    """The size of the table that serves so many votes and others: a power of two, 16 at least."""
    return max(16, 1 << (votes - 1).bit_length())


CURVES: Mapping[str, Curve] = {
    "repeated_sampling": repeated_sampling,
    "majority": majority,
    "best_of_n": best_of_n,
    "best_of_majority": best_of_majority,
}
