"""Sampling until an imperfect verifier accepts: how often the answer is right, wrong or missing, and when to stop.

Source: 2411.17501 (false positives bound what resampling can reach, and make a finite number of attempts best).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from budgets.difficulty import Array, Beta, Difficulty
from budgets.verifier_quality import Rates

_WITHIN = 1e-9


@dataclass(frozen=True, slots=True)
class FirstAccepted:
    """The first of `most` samples that the verifier accepts is the answer; there is none where it accepts none."""

    accepted: float
    """The chance that there is an answer."""
    right: float
    wrong: float
    expected_samples: float
    accuracy: float | None
    """Of the answers given; None where none can be."""
    ceiling: float | None
    """What `accuracy` tends to as `most` grows (for one p it is the same at any); None where none can be."""


@dataclass(frozen=True, slots=True)
class BestMost:
    """The smallest number of samples at which the utility is highest, 0 for not answering at all, and that utility."""

    samples: int
    utility: float


def first_accepted(difficulty: Difficulty, rates: Rates, most: int) -> FirstAccepted:
    """What comes of drawing up to `most` samples, 1 or more, until one is accepted; means over problems, to 1e-9."""
    if most < 1:
        raise ValueError(f"most is {most}; choose 1 sample or more.")
    p, weights = difficulty.nodes()
    right, wrong, draws = (
        float(weights @ part[:, 0]) for part in _parts(p, rates, np.array([most], dtype=float))
    )
    accepted = right + wrong
    return FirstAccepted(
        accepted, right, wrong, draws, right / accepted if accepted > 0 else None, ceiling(difficulty, rates)
    )


def ceiling(difficulty: Difficulty, rates: Rates) -> float | None:
    """E[p·t/(p·t + (1-p)·f)]: the accuracy that no number of samples exceeds. None where nothing is ever accepted."""
    p, weights = difficulty.nodes()
    if isinstance(difficulty, Beta) and 0 in (rates.tpr, rates.fpr):
        return (1.0 if rates.tpr else 0.0) if rates.tpr or rates.fpr else None
    accepts = p * rates.tpr + (1 - p) * rates.fpr
    if not np.all(accepts > 0):
        return None
    return float(weights @ (p * rates.tpr / accepts))


def utilities(
    difficulty: Difficulty, rates: Rates, most: int, wrong_answer_cost: float, sample_cost: float = 0.0
) -> Array:
    """E[right - wrong_answer_cost·wrong - sample_cost·samples] with up to 0 … `most` samples: (most + 1,).

    In units of a right answer; 0 samples is no answer, utility 0.
    """
    if not (wrong_answer_cost >= 0 and sample_cost >= 0):
        raise ValueError("wrong_answer_cost and sample_cost must be 0 or more.")
    p, weights = difficulty.nodes()
    right, wrong, draws = _parts(p, rates, np.arange(most + 1, dtype=float))
    return np.asarray(weights @ (right - wrong_answer_cost * wrong - sample_cost * draws))


def best_most(
    difficulty: Difficulty,
    rates: Rates,
    wrong_answer_cost: float,
    sample_cost: float = 0.0,
    most: int = 1000,
) -> BestMost:
    """The smallest number of samples, up to `most`, whose utility is within 1e-9 of the highest.

    A finite one is best where problems differ: those still unsolved are those where a false positive comes first.
    """
    found = utilities(difficulty, rates, most, wrong_answer_cost, sample_cost)
    best = float(found.max())
    samples = int(np.argmax(found >= best - _WITHIN))
    return BestMost(samples, best)


def _parts(p: Array, rates: Rates, most: Array) -> tuple[Array, Array, Array]:
    """The chances of a right and of a wrong answer, and the expected samples, at each p and each of `most`: (P, M)."""
    right, wrong = (p * rates.tpr)[:, None], ((1 - p) * rates.fpr)[:, None]
    accepts = right + wrong
    with np.errstate(divide="ignore", invalid="ignore"):
        passed = -np.expm1(np.where(most > 0, most * np.log1p(-np.minimum(accepts, 1.0)), 0.0))
        each = np.where(accepts > 0, passed / accepts, most)
    return right * each, wrong * each, each
