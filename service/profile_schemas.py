"""What clients may send to the routes on profiles: graded samples, and whether an answer was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from service.schemas import Positive, StrictBody, TaskName, read_as

if TYPE_CHECKING:
    from budgets.profiles import Measurement

MOST_PROBLEMS = 10_000
MOST_SAMPLES = 1_000
MOST_IN_ALL = 20_000

VerifierName = Annotated[str, Field(min_length=1, max_length=128)]


class SampleRequest(StrictBody):
    """A graded sample. `finished`: false where it was cut at `max_tokens`. Equal `answer`s are the same answer."""

    right: bool
    tokens: Annotated[int, Field(ge=0, le=2**31)]
    finished: bool | None = None
    answer: Annotated[str, Field(max_length=10_000)] | None = None
    score: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None


Samples = Annotated[list[SampleRequest], Field(min_length=1, max_length=MOST_SAMPLES, fail_fast=True)]


class ProfileRequest(StrictBody):
    """Graded samples of each problem of a task, `max_tokens` long at most; `verifier` gave their scores."""

    model: str
    task: TaskName | None = None
    verifier: VerifierName | None = None
    max_tokens: Positive | None = None
    problems: Annotated[list[Samples], Field(min_length=1, max_length=MOST_PROBLEMS, fail_fast=True)]

    @field_validator("problems")
    @classmethod
    def _bounded(cls, problems: list[list[SampleRequest]]) -> list[list[SampleRequest]]:
        total = sum(map(len, problems))
        if total > MOST_IN_ALL:
            raise ValueError(f"It holds {total} samples, and at most {MOST_IN_ALL} are taken")
        return problems

    def measurements(self) -> Sequence[Sequence[Measurement]]:
        """The samples as the fit takes them. Imports scipy: call it in a thread."""
        from budgets.profiles import Measurement

        return [
            [Measurement(s.right, s.tokens, s.finished is not False, s.answer, s.score) for s in samples]
            for samples in self.problems
        ]


class FeedbackRequest(StrictBody):
    """Whether an answer of the response `id` was right; `task`, where it is another than the request named."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    correct: bool
    task: TaskName | None = None


def read_profile(body: bytes) -> ProfileRequest:
    """The samples in `body`, or ApiError 400."""
    return read_as(ProfileRequest, body, most=6 * MOST_IN_ALL + 2 * MOST_PROBLEMS)


def read_feedback(body: bytes) -> FeedbackRequest:
    """The verdict in `body`, or ApiError 400."""
    return read_as(FeedbackRequest, body)


def profile_example(model: str) -> dict[str, Any]:
    """Graded samples that any service takes."""
    right = {"right": True, "tokens": 180, "finished": True, "answer": "15", "score": 0.8}
    wrong = {"right": False, "tokens": 240, "finished": True, "answer": "14", "score": 0.4}
    problems = [[right, right, wrong], [wrong, right, right], [wrong, wrong, wrong]]
    return {"model": model, "task": "sums", "verifier": "judge", "max_tokens": 512, "problems": problems}
