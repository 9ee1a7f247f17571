"""Our strategies' selection rules on arrays of samples: which problems the first N samples solve.

The same rules as in `strategies/`, ties included, for thousands of problems at once; a test holds the
two against each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from simulated_tasks import Samples

from budgets.prediction import DEFAULTS, Options, Strategy

Solved = NDArray[np.bool_]
Tokens = NDArray[np.integer]


def solved(strategy: Strategy, samples: Samples, n: int, options: Options = DEFAULTS) -> Solved:
    """Whether the answer chosen from each problem's first `n` samples is the right one: (problems,)."""
    if strategy == "repeated_sampling":
        return _first_accepted(samples, n, options.accept_at)
    if strategy == "best_of_n" and options.select != "weighted":
        return _highest(samples, n, options.temperature if options.select == "softmax" else 0.0)
    votes = _Votes(samples, n)
    if strategy == "majority":
        return votes.first(votes.counts)
    if strategy == "best_of_n":
        return votes.first(votes.weights)
    if strategy == "best_of_majority":
        often = votes.counts >= options.alpha * n - 1e-9
        often = np.where(often.any(axis=1, keepdims=True), often, votes.most)
        return votes.first(
            np.where(often & (votes.counts > 0), votes.weights / np.maximum(votes.counts, 1), -1.0)
        )
    raise ValueError(f"{strategy} has no rule here.")


def spent(strategy: Strategy, samples: Samples, n: int, options: Options = DEFAULTS) -> Tokens:
    """Tokens that the strategy generates for each problem with up to `n` samples: (problems,).

    What still runs when repeated sampling accepts one is cancelled there and then.
    """
    tokens = samples.tokens[:, :n]
    if strategy != "repeated_sampling":
        return np.asarray(tokens.sum(axis=1))
    accepted = _accepted(samples, n, options.accept_at)
    total, going = np.zeros(len(tokens), int), np.ones(len(tokens), bool)
    for begin, end in _waves(n):
        ends = np.where(accepted[:, begin:end], tokens[:, begin:end], np.iinfo(np.int32).max).min(axis=1)
        total += going * np.minimum(tokens[:, begin:end], ends[:, None]).sum(axis=1)
        going &= ~accepted[:, begin:end].any(axis=1)
    return total


def _highest(samples: Samples, n: int, temperature: float = 0.0) -> Solved:
    """The highest score; with a temperature the highest of score/temperature + Gumbel noise, a softmax draw."""
    scores = samples.score[:, :n]
    if temperature:
        scores = scores / temperature + np.random.default_rng(n).gumbel(size=scores.shape)
    scores = np.where(samples.answer[:, :n] < 0, -np.inf, scores)
    return np.asarray(samples.right[np.arange(len(scores)), scores.argmax(axis=1)])


def _accepted(samples: Samples, n: int, accept_at: float) -> Solved:
    return np.asarray((samples.score[:, :n] >= accept_at) & (samples.answer[:, :n] >= 0))


def _waves(n: int) -> list[tuple[int, int]]:
    """Where waves of 1, 2, 4, … begin and end, the last one cut."""
    return [
        ((1 << wave) - 1, min(n, (2 << wave) - 1)) for wave in range((n + 1).bit_length()) if (1 << wave) <= n
    ]


def _first_accepted(samples: Samples, n: int, accept_at: float) -> Solved:
    """The first that is accepted, where the shortest of a wave is done first; else the highest of all."""
    accepted = _accepted(samples, n, accept_at)
    found, going = np.zeros(len(accepted), bool), np.ones(len(accepted), bool)
    row = np.arange(len(accepted))
    for begin, end in _waves(n):
        mine = accepted[:, begin:end]
        first = np.where(mine, samples.tokens[:, begin:end], np.iinfo(np.int32).max).argmin(axis=1)
        now = going & mine.any(axis=1)
        found = np.where(now, samples.right[row, begin + first], found)
        going &= ~now
    return np.where(going, _highest(samples, n), found)


class _Votes:
    """Votes, added scores and first appearance of each answer: (problems, answers)."""

    def __init__(self, samples: Samples, n: int) -> None:
        answer = samples.answer[:, :n].astype(int)
        shape = len(answer), int(samples.answer.max()) + 1
        rows, places = np.nonzero(answer >= 0)
        cells = rows * shape[1] + answer[rows, places]
        size = shape[0] * shape[1]
        self.counts = np.bincount(cells, minlength=size).reshape(shape)
        self.weights = np.bincount(cells, samples.score[rows, places], size).reshape(shape)
        seen = np.full(size, n)
        np.minimum.at(seen, cells, places)
        self._seen = seen.reshape(shape)

    @property
    def most(self) -> Solved:
        """The answers with the most votes."""
        return np.asarray(self.counts == self.counts.max(axis=1, keepdims=True))

    def first(self, marks: NDArray[np.floating]) -> Solved:
        """Whether the right answer has the highest mark; of equals more votes win, then the one seen first."""
        best = (marks == marks.max(axis=1, keepdims=True)) & (self.counts > 0)
        votes = np.where(best, self.counts, 0)
        best &= votes == votes.max(axis=1, keepdims=True)
        return np.asarray(np.where(best, self._seen, np.iinfo(int).max).argmin(axis=1) == 0) & (
            self.counts[:, 0] > 0
        )
