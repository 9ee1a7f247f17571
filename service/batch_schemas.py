"""What clients get from the routes on batches, for the API's description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from service.reply_schemas import ErrorDetail


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class Batch(BaseModel):
    """OpenAI's batch. Times are in seconds since 1970, null for what has not happened."""

    id: str
    object: Literal["batch"]
    endpoint: Literal["/v1/chat/completions", "/v1/scale"]
    status: Literal["in_progress", "completed", "cancelling", "cancelled"]
    created_at: int
    in_progress_at: int
    completed_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    webhook: str | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    completion_window: str | None
    metadata: dict[str, str] | None
    errors: None


class BatchList(BaseModel):
    """Batches, the newest first; the next page is the one `after` `last_id`."""

    object: Literal["list"]
    data: list[Batch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class BatchFault(BaseModel):
    """What is wrong with a line; the first line is 1."""

    code: str
    message: str
    param: str | None
    line: int | None


class BatchFaults(BaseModel):
    object: Literal["list"]
    data: list[BatchFault]


class BatchRefused(BaseModel):
    """The first fault as an error, and up to 100 of them; none for what is no matter of a line."""

    error: ErrorDetail
    errors: BatchFaults | None = None


class File(BaseModel):
    """OpenAI's file; `created_at` is in seconds since 1970."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch"]
    status: Literal["processed"]


class FileList(BaseModel):
    object: Literal["list"]
    data: list[File]
    has_more: bool


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"]
    deleted: bool
