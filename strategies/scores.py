"""Verifiers' scores as the numbers that strategies reckon with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from verifiers.base import Score

NEAREST = 1e-6
"""How near to 0 or 1 a probability is taken: a score of exactly 0 or 1 must not outweigh everything for ever."""


def probabilities(scores: Sequence[Score]) -> list[Score]:
    """Scores in [0, 1]: as they are where all of them lie there, else each through a sigmoid. None stays None."""
    if all(score is None or 0 <= score <= 1 for score in scores):
        return list(scores)
    return [None if score is None else _sigmoid(score) for score in scores]


def logits(scores: Sequence[Score]) -> list[Score]:
    """log(p / (1 − p)) of each score, probabilities kept `NEAREST` from 0 and 1; scores beyond [0, 1] are logits."""
    if any(score is not None and not 0 <= score <= 1 for score in scores):
        return list(scores)
    return [None if score is None else _logit(score) for score in scores]


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
