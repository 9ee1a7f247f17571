"""/v1/files: OpenAI's way to a batch and from it, for clients that have no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.batches.files import as_result, file_not_found
from service.batches.multipart import read_upload
from service.batches.outputs import results
from service.replies import json_response
from service.routes.batches import Lines, batch_limits
from service.routes.request import id_of, tenant_of, world_of
from service.serving import read_body

PATH: Final = "/v1/files"
NO_ERROR: Final = b'"error":null}\n'
"""How the line of a request ends that was answered."""


async def create(request: Request) -> Response:
    """Keep a file."""
    world = world_of(request)
    with world.batches.creating():
        body = await read_body(request, batch_limits(world.limits))
        content_type = request.headers.get("content-type", "")
        upload = await asyncio.to_thread(read_upload, content_type, body)
        return json_response((await world.batches.files.create(tenant_of(request).name, upload)).reply())


async def page(request: Request) -> Response:
    """The tenant's files, newest first."""
    views = await world_of(request).batches.files.page(tenant_of(request).name)
    return json_response({"object": "list", "data": [view.reply() for view in views], "has_more": False})


async def get(request: Request) -> Response:
    """A file, without what is in it."""
    view = await world_of(request).batches.files.view(tenant_of(request).name, id_of(request))
    return json_response(view.reply())


async def delete(request: Request) -> Response:
    """Forget a file; batches that were made of it go on."""
    id = id_of(request)
    await world_of(request).batches.files.delete(tenant_of(request).name, id)
    return json_response({"id": id, "object": "file", "deleted": True})


async def content(request: Request) -> Response:
    """What is in a file: as it was sent, or what came of a batch."""
    world, tenant, id = world_of(request), tenant_of(request), id_of(request)
    named = as_result(id)
    if named is None:
        kept = await world.batches.files.content(tenant.name, id)
        return Response(kept, media_type="application/octet-stream")
    batch = await world.batches.get(tenant, named.batch)
    if not batch.ended:
        raise file_not_found(id)
    lines = _some(results(world.batches, world.jobs, tenant, batch), answered=named.kind == "output")
    return Lines(await anext(lines, b""), lines)


async def _some(lines: AsyncGenerator[bytes], *, answered: bool) -> AsyncGenerator[bytes]:
    """The lines of requests that were answered, or those of the others."""
    async with aclosing(lines):
        async for line in lines:
            if line.endswith(NO_ERROR) == answered:
                yield line


ROUTES = [
    Route(PATH, create, methods=["POST"]),
    Route(PATH, page),
    Route(PATH + "/{id}", get),
    Route(PATH + "/{id}", delete, methods=["DELETE"]),
    Route(PATH + "/{id}/content", content),
]
