"""Problems and responses as the tests of this folder make them."""

from __future__ import annotations

from service.calibration.data import Problem, Response
from service.calibration.grading import Graded


def problem(number: int = 1, reference: str = "15", **more) -> Problem:
    return Problem(number, ({"role": "user", "content": f"Question {number}?"},), reference, **more)


def graded(
    right: list[bool], answers: list[str | None] | None = None, scores=None, number: int = 1
) -> Graded:
    """A graded problem; without `answers` the right ones are "r", the wrong ones "w"."""
    given = answers or ["r" if flag else "w" for flag in right]
    responses = [
        Response(f"{i}", 10 + i, True, score) for i, score in enumerate(scores or [None] * len(right))
    ]
    return Graded(problem(number), tuple(responses), tuple(given), tuple(right))
