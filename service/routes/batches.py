"""/v1/batches: many requests in one body, run in the background when nothing more urgent is to be done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.batch_requests import read_batch
from service.batches.lines import Fault, read_lines
from service.batches.outputs import results
from service.batches.views import Made
from service.errors import ApiError
from service.job_schemas import read_page
from service.planning import agree
from service.replies import json_response
from service.routes.request import id_of, tenant_of, world_of
from service.serving import read_body, unless_left
from service.settings import Limits
from service.store.client import StoreUnavailable

PATH: Final = "/v1/batches"
WEBHOOK: Final = "X-Aliquot-Webhook"


def body_limits(limits: Limits, path: str) -> Limits:
    """What a body at this path may be."""
    return batch_limits(limits) if path in (PATH, "/v1/files") else limits


def batch_limits(limits: Limits) -> Limits:
    """What a batch's body may be."""
    return limits.model_copy(update={"body_bytes": limits.batch_bytes})


async def create(request: Request) -> Response:
    """Keep a batch, once all its lines are found to be in order."""
    world, tenant = world_of(request), tenant_of(request)
    webhook = request.headers.get(WEBHOOK)
    if webhook is not None:
        world.webhooks.check(webhook)
    with world.batches.creating():
        body = await read_body(request, batch_limits(world.limits))
        endpoint, made = None, Made(webhook)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            asked = read_batch(body)
            endpoint, made = asked.endpoint, asked.made(webhook)
            body = await world.batches.files.content(tenant.name, asked.input_file_id, "input_file_id")
        read = await read_lines(body, world.limits, lambda line: agree(world, line, tenant), endpoint)
        if read.faults:
            return _refused(read.faults)
        batch = await world.batches.create(tenant, read, made)
    return json_response(batch.reply(), headers={"Location": f"{PATH}/{batch.id}"})


async def page(request: Request) -> Response:
    """The tenant's batches, newest first."""
    after, limit = read_page(request.query_params.get("after"), request.query_params.get("limit"))
    views, more = await world_of(request).batches.page(tenant_of(request), after, limit)
    ids = {"first_id": views[0].id if views else None, "last_id": views[-1].id if views else None}
    data = [view.reply() for view in views]
    return json_response({"object": "list", "data": data, "has_more": more, **ids})


async def get(request: Request) -> Response:
    """A batch, and how far it is."""
    return json_response((await world_of(request).batches.get(tenant_of(request), id_of(request))).reply())


async def cancel(request: Request) -> Response:
    """Begin to end a batch; one that has ended stays as it is."""
    return json_response((await world_of(request).batches.cancel(tenant_of(request), id_of(request))).reply())


async def output(request: Request) -> Response:
    """The results, a JSON line for each request of the batch."""
    world, tenant = world_of(request), tenant_of(request)
    batch = await world.batches.get(tenant, id_of(request))
    if not batch.ended:
        message = f"The batch is {batch.status}. Ask for its results once GET {PATH}/{batch.id} says that it has ended."
        raise ApiError(409, "batch_not_ended", message, retry_after=5)
    lines = results(world.batches, world.jobs, tenant, batch)
    return Lines(await anext(lines), lines)


class Lines(Response):
    """Lines as they come, of which the `first` has. Where the store fails on the way the connection is broken off, so
    that nobody takes a part for the whole."""

    media_type = "application/jsonl"

    def __init__(self, first: bytes, others: AsyncGenerator[bytes]) -> None:
        super().__init__()
        self._first = first
        self._others = others
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with suppress(ClientDisconnect, StoreUnavailable):
            await unless_left(receive, self._pump(send))
            await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async with aclosing(self._others) as lines:
            async for line in lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})


def _refused(faults: list[Fault]) -> Response:
    """400 with OpenAI's list of what is wrong, and the first fault as the error."""
    first = faults[0]
    more = f" {len(faults)} faults are listed in errors." if len(faults) > 1 else ""
    error = ApiError(400, "invalid_batch", first.message + more, param=first.param)
    told = {**error.body(), "errors": {"object": "list", "data": msgspec.to_builtins(faults)}}
    return json_response(told, error.status)


ROUTES = [
    Route(PATH, create, methods=["POST"]),
    Route(PATH, page),
    Route(PATH + "/{id}", get),
    Route(PATH + "/{id}/results", output),
    Route(PATH + "/{id}/cancel", cancel, methods=["POST"]),
]
