"""The results of a batch: one JSON line for each request, in their order and in OpenAI's shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from service.batches.batches import Batches
from service.batches.lines import Name
from service.batches.views import BatchView
from service.errors import ApiError
from service.jobs.jobs import Jobs
from service.replies import encode, spoken
from service.store.client import StoreUnavailable
from service.tenants.tenant import Tenant

PAGE: Final = 16
"""Lines whose results are in memory at once."""

Json = dict[str, Any]

CANCELLED: Final = {
    "code": "batch_cancelled",
    "message": "This request was cancelled before it had ended.",
}
GONE: Final = {
    "code": "result_expired",
    "message": "This request's result is not kept any more: see limits.job_seconds.",
}


async def results(batches: Batches, jobs: Jobs, tenant: Tenant, batch: BatchView) -> AsyncGenerator[bytes]:
    """A line for each request of a batch that has ended. Raises StoreUnavailable."""
    for first in range(0, batch.total, PAGE):
        names, states = await batches.kept.names(batch.id, first, PAGE)
        if len(names) < min(PAGE, batch.total - first):  # it has just been forgotten
            raise StoreUnavailable
        lines = zip(range(first, first + len(names)), names, states, strict=True)
        for line in await asyncio.gather(*(_result(jobs, tenant, batch, *one) for one in lines)):
            yield encode(line) + b"\n"


async def _result(jobs: Jobs, tenant: Tenant, batch: BatchView, number: int, name: Name, state: str) -> Json:
    job = f"{batch.id}-{number}"
    line: Json = {"id": job, "custom_id": name.custom_id, "response": None, "error": None}
    if state == "x":
        return {**line, "error": CANCELLED}
    try:
        view, result = await jobs.whole(tenant, job)
    except ApiError as error:
        if error.status != 404:
            raise
        return {**line, "error": GONE}
    if result is None:
        return {**line, "error": view.error or GONE}
    body: Any = msgspec.Raw(result)
    if batch.endpoint == "/v1/chat/completions":
        body = chat_completion(msgspec.json.decode(result), name)
    return {**line, "response": {"status_code": 200, "request_id": job, "body": body}}


def chat_completion(outcome: Mapping[str, Any], name: Name) -> Json:
    """OpenAI's chat completion with the `n` best answers of an outcome; the same whenever it is asked for."""
    choices = []
    for index, candidate in enumerate(outcome["candidates"][: name.n]):
        message, reason = spoken(candidate["text"], candidate["finish_reason"], name.tools)
        for at, call in enumerate(message.get("tool_calls", ())):
            place = f"{outcome['id']}.{index}.{at}"
            call["id"] = f"call_{sha256(place.encode()).hexdigest()[:24]}"
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": reason})
    head = {key: outcome[key] for key in ("id", "created", "model", "usage", "scaling")}
    return {**head, "object": "chat.completion", "choices": choices}
