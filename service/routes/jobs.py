"""/v1/jobs: runs in the background, which outlive the connection, and the process that runs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import ApiError
from service.job_schemas import read_job, read_page
from service.jobs.events import Event
from service.jobs.jobs import Jobs
from service.journal_file import write_journal
from service.planning import agree
from service.replies import json_response
from service.routes.request import id_of, tenant_of
from service.serving import EventStream, read_body
from service.streams import DONE, comment
from service.world import World


async def submit(request: Request) -> Response:
    """Keep a job; 202 says that nothing but the store's loss will lose it."""
    world: World = request.app.state.world
    asked = read_job(await read_body(request, world.limits))
    agree(world, asked, tenant_of(request))
    if asked.webhook is not None:
        world.webhooks.check(asked.webhook)
    view = await world.jobs.submit(tenant_of(request), asked.run(), webhook=asked.webhook)
    return json_response(view.reply(), 202, {"Location": f"/v1/jobs/{view.id}"})


async def page(request: Request) -> Response:
    """The tenant's jobs, newest first."""
    after, limit = read_page(request.query_params.get("after"), request.query_params.get("limit"))
    views, more = await _jobs(request).page(tenant_of(request), after, limit)
    return json_response({"object": "list", "data": [view.reply() for view in views], "has_more": more})


async def get(request: Request) -> Response:
    """A job, with its result once it has one."""
    view, result = await _jobs(request).whole(tenant_of(request), id_of(request))
    return json_response({**view.reply(), "result": None if result is None else msgspec.Raw(result)})


async def cancel(request: Request) -> Response:
    """End a job; one that has ended stays as it is."""
    return json_response((await _jobs(request).cancel(tenant_of(request), id_of(request))).reply())


async def events(request: Request) -> Response:
    """What happens in a job, from behind Last-Event-ID on, as server-sent events; 204 where nothing more will come."""
    after = request.headers.get("last-event-id")
    coming = await _jobs(request).events(tenant_of(request), id_of(request), after)
    return EventStream(_encoded(coming), {}) if coming else Response(status_code=204)


async def journal(request: Request) -> Response:
    """The journal of a job that has ended, as a file that `aliquot replay` runs again."""
    jobs, tenant, id = _jobs(request), tenant_of(request), id_of(request)
    view, result = await jobs.whole(tenant, id)
    if not view.ended:
        message = f"The job is {view.status}, and its journal is not complete. Ask again when it has ended."
        raise ApiError(409, "job_not_ended", message, param="id")
    kept = await jobs.kept(tenant, id)
    if not kept.lines:
        raise ApiError(404, "no_journal", "The job ended before anything was done for it.", param="id")
    facts, *records = kept.lines
    lines = write_journal(id, kept.request, facts, records, result)
    headers = {"Content-Disposition": f'attachment; filename="{id}.jsonl"'}
    return Response(b"".join(lines), headers=headers, media_type="application/x-ndjson")


async def _encoded(coming: AsyncGenerator[Event | None]) -> AsyncGenerator[bytes]:
    async with aclosing(coming) as events:
        async for event in events:
            if event is None:
                yield comment({"event": "running"})
            else:
                yield b"id: %b\ndata: %b\n\n" % (event.id.encode(), _told(event.data))
    yield DONE


def _told(data: bytes) -> bytes:
    return b'{"object":"scaling.event",' + data[1:]


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.world.jobs
    return jobs


ROUTES = [
    Route("/v1/jobs", submit, methods=["POST"]),
    Route("/v1/jobs", page),
    Route("/v1/jobs/{id}", get),
    Route("/v1/jobs/{id}", cancel, methods=["DELETE"]),
    Route("/v1/jobs/{id}/events", events),
    Route("/v1/jobs/{id}/journal", journal),
]
