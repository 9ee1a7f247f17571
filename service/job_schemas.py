"""What clients may send of jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.errors import unreadable
from service.schemas import ChatRequest, read_as

MOST_PAGE = 100
DEFAULT_PAGE = 20


class JobRequest(ChatRequest):
    """A /v1/scale body to be run in the background. `webhook`: where to tell that it has ended."""

    webhook: Annotated[str, Field(max_length=2_000)] | None = None

    def run(self) -> bytes:
        """What is to be run, as JSON."""
        return self.model_dump_json(exclude_unset=True, by_alias=True, exclude={"webhook"}).encode()


def read_job(body: bytes) -> JobRequest:
    """The job in `body`. Raises ApiError 400."""
    asked = read_as(JobRequest, body)
    if asked.stream:
        message = "stream: a job has no stream of its own. Leave it out, and read /v1/jobs/{id}/events."
        raise unreadable(message, "stream", "invalid_value")
    return asked


def read_page(after: str | None, limit: str | None) -> tuple[str | None, int]:
    """The id behind which a page begins, and its length. Raises ApiError 400."""
    if limit is None:
        return after, DEFAULT_PAGE
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 10 and 1 <= int(limit) <= MOST_PAGE):
        raise unreadable(f"limit should be a whole number from 1 to {MOST_PAGE}.", "limit", "invalid_value")
    return after, int(limit)


def job_example(model: str) -> dict[str, object]:
    """A job that any service runs."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "What is 7 + 8? Answer with a number."}],
        "max_tokens": 40,
        "scaling": {"strategy": "majority", "budget": {"samples": 12}, "answer": {"format": "number"}},
    }
