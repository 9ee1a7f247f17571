"""Whether the service lives, whether it can answer, and what it has counted."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.replies import json_response
from service.world import World


async def healthz(_: Request) -> Response:
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    world: World = request.app.state.world
    if world.draining.begun:
        return json_response({"status": "draining"}, 503)
    engines, store = await asyncio.gather(world.ready(), world.store.answers())
    ready = all(engines.values()) and store
    told = {"status": "ok" if ready else "not_ready", "engines": engines, "store": store}
    return json_response(told, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
