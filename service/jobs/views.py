"""A job as others see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from service.errors import ApiError

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
Priority = Literal["interactive", "batch"]

FIELDS: Final = (
    "tenant",
    "status",
    "priority",
    "model",
    "created",
    "started",
    "finished",
    "attempts",
    "webhook",
    "error",
)
"""Of a job's hash, what a view is made of."""


class JobView(msgspec.Struct, frozen=True):
    """A job, which was begun `attempts` times. Times are in seconds since 1970; `error` is an API error's detail."""

    id: str
    tenant: str
    status: Status
    priority: Priority
    model: str
    created: int
    started: int | None
    finished: int | None
    attempts: int
    webhook: str | None
    error: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status not in ("queued", "running")

    def reply(self) -> dict[str, Any]:
        """The job in the form of the API."""
        told = msgspec.to_builtins(self)
        del told["tenant"]
        return {"id": told.pop("id"), "object": "scaling.job", **told}


def read_view(id: str, values: Sequence[bytes | None]) -> JobView:
    """The job whose hash has these values of `FIELDS`."""
    given = {name: value.decode() if value else None for name, value in zip(FIELDS, values, strict=True)}
    return JobView(
        id=id,
        tenant=given["tenant"] or "",
        status=cast(Status, given["status"]),
        priority=cast(Priority, given["priority"]),
        model=given["model"] or "",
        created=_seconds(given["created"]) or 0,
        started=_seconds(given["started"]),
        finished=_seconds(given["finished"]),
        attempts=int(given["attempts"] or 0),
        webhook=given["webhook"],
        error=msgspec.json.decode(given["error"]) if given["error"] else None,
    )


def job_not_found(id: str, param: str = "id") -> ApiError:
    """404, for another tenant's job as for one that there never was."""
    message = f"There is no job {id[:100]!r}, or it ended longer ago than limits.job_seconds. GET /v1/jobs lists yours."
    return ApiError(404, "job_not_found", message, param=param)


def _seconds(milliseconds: str | None) -> int | None:
    return None if milliseconds is None else int(milliseconds) // 1000
