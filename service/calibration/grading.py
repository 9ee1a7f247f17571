"""Grading: which answer each response gives, and whether it is the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from service.calibration.data import Problem, Response
from verifiers.answers import make_answers
from verifiers.reasoning import split_reasoning
from verifiers.workers import Workers


@dataclass(frozen=True, slots=True)
class Graded:
    """A problem's responses, the answer that each gives (None: none) and whether it is right."""

    problem: Problem
    responses: tuple[Response, ...]
    answers: tuple[str | None, ...]
    right: tuple[bool, ...]

    def measurements(self, *, scored: bool) -> list[Mapping[str, Any]]:
        """What `/v1/profiles` takes of it. Answers go by short names: which are equal is all that counts.

        An answer that recorded grades call right here and wrong there counts as two.
        """
        told = list(zip(self.answers, self.right, strict=True))
        names = {each: str(i) for i, each in enumerate(dict.fromkeys(told))}
        return [
            {
                "right": right,
                "tokens": response.tokens,
                "finished": response.finished,
                "answer": None if answer is None else names[answer, right],
                "score": response.score if scored else None,
            }
            for response, answer, right in zip(self.responses, self.answers, self.right, strict=True)
        ]


async def grade(
    problem: Problem, responses: Sequence[Response], format: str, workers: Workers
) -> tuple[Graded, list[str]]:
    """The responses graded under an answer format, in an order that says nothing of them; and the format's warnings.

    Where the problem says which of its responses are right, they are taken at its word.
    """
    order = list(range(len(responses)))
    Random(problem.identity).shuffle(order)
    shuffled = tuple(responses[i] for i in order)
    answers = make_answers(format, workers=workers)
    found = await answers.canonical([split_reasoning(response.text)[1] for response in shuffled])
    if problem.correct:
        right = [problem.correct[i] for i in order]
    else:
        right = await answers.matches(found, problem.reference)
    return Graded(problem, shuffled, tuple(found), tuple(right)), answers.warnings


async def readable(problem: Problem, format: str, workers: Workers) -> bool:
    """Whether some response would be right: not where the format finds no answer in the reference."""
    answers = make_answers(format, workers=workers)
    reference = problem.reference
    found = await answers.canonical([reference, f"\\boxed{{{reference}}}"])
    return any(await answers.matches(found, reference))
