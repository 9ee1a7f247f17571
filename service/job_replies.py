"""What clients get from the routes on jobs, for the API's description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from service.reply_schemas import ErrorDetail, ScalingOutcome


class Job(BaseModel):
    """A job, which was begun `attempts` times. Times are in seconds since 1970, null for what has not happened."""

    id: str
    object: Literal["scaling.job"]
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    priority: Literal["interactive", "batch"]
    model: str
    created: int
    started: int | None
    finished: int | None
    attempts: int
    webhook: str | None
    error: ErrorDetail | None


class JobWithResult(Job):
    """`result` is what /v1/scale would have answered; null unless the job is completed."""

    result: ScalingOutcome | None


class Jobs(BaseModel):
    """Jobs, the newest first; the next page is the one `after` the last."""

    object: Literal["list"]
    data: list[Job]
    has_more: bool
