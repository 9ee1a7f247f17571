"""What samples bought on the graded problems themselves, at every number of samples up to those drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from budgets.accuracy import pass_at_k
from service.calibration.grading import Graded

ORDERS: Final = 64
"""About how many random orders of a problem's samples there are, whose first k are its subsets of k."""

Curve = Mapping[int, float]


def counts(problems: Sequence[Graded], most: int | None = None) -> list[int]:
    """Powers of two, and between them one and a half times those, up to what nine problems of ten have; its end too."""
    drawn = sorted(len(problem.right) for problem in problems)
    last = min(drawn[len(drawn) // 10], most or drawn[-1])
    steps = {step for i in range(last.bit_length()) for step in (1 << i, 3 << i >> 1)}
    return sorted({step for step in steps if step <= last} | {last})


def observed(problems: Sequence[Graded], samples: Sequence[int], *, scored: bool) -> Mapping[str, Curve]:
    """The share of problems answered right by each strategy, for each of `samples`: over problems that have as many.

    Coverage is the unbiased pass@k. A vote is won by the most frequent answer, of equals by the first seen; best_of_n
    takes the highest score, responses without one last. Both are means over random subsets, from a fixed seed, in
    which all of a problem's samples (up to 64) come equally often: one sample's accuracy is exact.
    """
    rng = np.random.default_rng(0)
    found: dict[str, dict[int, list[float]]] = {"repeated_sampling": {}, "majority": {}}
    if scored:
        found["best_of_n"] = {}
    for problem in problems:
        right = np.asarray(problem.right)
        orders = _orders(len(right), rng)
        answers, scores = _answers(problem), _scores(problem)
        for k in (k for k in samples if k <= len(right)):
            drawn = orders[:, :k]
            chances = {
                "repeated_sampling": pass_at_k(len(right), int(right.sum()), k),
                "majority": float(_voted(answers[drawn], right[drawn]).mean()),
            }
            if scored:
                best = np.argmax(scores[drawn], axis=1)
                chances["best_of_n"] = float(right[drawn][np.arange(len(drawn)), best].mean())
            for name, chance in chances.items():
                found[name].setdefault(k, []).append(chance)
    return {name: {k: float(np.mean(each)) for k, each in curve.items()} for name, curve in found.items()}


def _orders(samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random orders of so many samples, and each of these turned round."""
    some = rng.permuted(np.tile(np.arange(samples), (-(-ORDERS // samples), 1)), axis=1)
    return np.concatenate([np.roll(some, turn, axis=1) for turn in rng.permutation(samples)[:ORDERS]])


def _voted(answers: NDArray[np.int64], right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the most frequent answer of each row is right; -1 is no answer and has no vote."""
    votes = (answers[:, :, None] == answers[:, None, :]).sum(axis=2)
    first = np.argmax(np.where(answers < 0, 0, votes), axis=1)
    rows = np.arange(len(answers))
    return np.asarray(right[rows, first] & (answers[rows, first] >= 0))


def _answers(problem: Graded) -> NDArray[np.int64]:
    names = {answer: i for i, answer in enumerate(dict.fromkeys(problem.answers))}
    return np.array([-1 if answer is None else names[answer] for answer in problem.answers])


def _scores(problem: Graded) -> NDArray[np.float64]:
    return np.array([-np.inf if r.score is None else r.score for r in problem.responses])
