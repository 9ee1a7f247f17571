"""Verifiers' scores as the numbers that strategies reckon with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from verifiers.base import Score

NEAREST = 1e-6
"""How near to 0 or 1 a probability is taken: a score of exactly 0 or 1 must not outweigh everything for ever."""


def bounded(scores: Sequence[Score]) -> bool:
    """Whether these are probabilities: in [0, 1], but for rounding. What is not is taken for logits."""
    return all(score is None or -NEAREST <= score <= 1 + NEAREST for score in scores)


def probabilities(scores: Sequence[Score], are: bool) -> list[Score]:
    """Scores in [0, 1]: as they are where they `are` probabilities, else each through a sigmoid. None stays None."""
    return [None if s is None else min(max(s, 0.0), 1.0) if are else _sigmoid(s) for s in scores]


def logits(scores: Sequence[Score], are: bool) -> list[Score]:
    """log(p / (1 − p)) where scores `are` probabilities, kept `NEAREST` from 0 and 1; else as they are."""
    return [None if s is None else _logit(s) if are else s for s in scores]


def softmax(values: Sequence[Score], temperature: float) -> list[float]:
    """Weights ∝ exp(value / temperature), summing to 1. None has no weight; where all are None all weigh the same."""
    known = [value for value in values if value is not None]
    if not known:
        return [1 / len(values)] * len(values)
    highest = max(known)
    weights = [0.0 if v is None else math.exp((v - highest) / temperature) for v in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def complete(scores: Sequence[Score]) -> list[float]:
    """Every score; where one is missing, the lowest that is known stands in, or 0 where none is."""
    lowest = min((score for score in scores if score is not None), default=0.0)
    return [lowest if score is None else score for score in scores]


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def _logit(p: float) -> float:
    p = min(max(p, NEAREST), 1 - NEAREST)
    return math.log(p / (1 - p))
