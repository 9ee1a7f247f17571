"""What clients may send to make a batch of a file: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.batches.lines import Endpoint
from service.batches.views import Made
from service.schemas import StrictBody, read_as

MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class BatchFileRequest(StrictBody):
    """A batch of the lines in a file. `completion_window` is what OpenAI's clients must send; it sets no deadline."""

    input_file_id: Annotated[str, Field(min_length=1, max_length=128)]
    endpoint: Endpoint | None = None
    completion_window: Literal["24h"] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None

    def made(self, webhook: str | None) -> Made:
        """What is kept of it beside its lines."""
        return Made(webhook, self.input_file_id, self.completion_window, self.metadata)


def read_batch(body: bytes) -> BatchFileRequest:
    """The request in `body`, or ApiError 400."""
    return read_as(BatchFileRequest, body)
