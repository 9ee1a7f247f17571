"""A batch as others see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from service.batches.files import Kind, result_file
from service.batches.lines import Endpoint
from service.errors import ApiError

Status = Literal["in_progress", "completed", "cancelling", "cancelled"]

FIELDS: Final = (
    "tenant",
    "status",
    "endpoint",
    "total",
    "completed",
    "failed",
    "created",
    "cancelling",
    "finished",
    "made",
)
"""Of a batch's hash, what a view is made of."""


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a batch was asked for, beside its lines: the last three where it was made of a file."""

    webhook: str | None = None
    input_file_id: str | None = None
    completion_window: str | None = None
    metadata: dict[str, str] | None = None


class BatchView(msgspec.Struct, frozen=True):
    """A batch. Times are in seconds since 1970."""

    id: str
    tenant: str
    status: Status
    endpoint: Endpoint
    total: int
    completed: int
    failed: int
    created: int
    cancelling: int | None
    finished: int | None
    made: Made

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("completed", "cancelled")

    def reply(self) -> dict[str, Any]:
        """OpenAI's batch."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "status": self.status,
            "created_at": self.created,
            "in_progress_at": self.created,
            "completed_at": self.finished if self.status == "completed" else None,
            "cancelling_at": self.cancelling,
            "cancelled_at": self.finished if self.status == "cancelled" else None,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "webhook": self.made.webhook,
            "input_file_id": self.made.input_file_id,
            "output_file_id": self._file("output") if self.completed else None,
            "error_file_id": self._file("errors") if self.completed < self.total else None,
            "completion_window": self.made.completion_window,
            "metadata": self.made.metadata,
            "errors": None,
        }

    def _file(self, kind: Kind) -> str | None:
        return result_file(self.id, kind) if self.ended else None


def read_view(id: str, values: Sequence[bytes | None]) -> BatchView:
    """The batch whose hash has these values of `FIELDS`."""
    given = {name: value.decode() if value else None for name, value in zip(FIELDS, values, strict=True)}
    return BatchView(
        id=id,
        tenant=given["tenant"] or "",
        status=cast(Status, given["status"]),
        endpoint=cast(Endpoint, given["endpoint"]),
        total=int(given["total"] or 0),
        completed=int(given["completed"] or 0),
        failed=int(given["failed"] or 0),
        created=_seconds(given["created"]) or 0,
        cancelling=_seconds(given["cancelling"]),
        finished=_seconds(given["finished"]),
        made=msgspec.json.decode(given["made"] or "{}", type=Made),
    )


def batch_not_found(id: str, param: str = "id") -> ApiError:
    """404, for another tenant's batch as for one that there never was."""
    message = (
        f"There is no batch {id[:100]!r}, or it ended longer ago than limits.job_seconds. GET /v1/batches lists "
        "yours."
    )
    return ApiError(404, "batch_not_found", message, param=param)


def _seconds(milliseconds: str | None) -> int | None:
    return None if milliseconds is None else int(milliseconds) // 1000
