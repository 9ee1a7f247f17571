"""The application: routes, middleware and error handlers around a `World`."""

from __future__ import annotations

import time
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.engine_metrics import EngineMetrics
from service.errors import ApiError
from service.idempotency import Idempotency
from service.jobs.performing import Performer
from service.load_metrics import LoadMetrics
from service.logs import logger
from service.metrics import Metrics
from service.middleware.access import CLIENT_LEFT, Access
from service.middleware.authenticate import Authenticate
from service.middleware.idempotency import Idempotent
from service.openapi import Pages
from service.replies import json_response
from service.routes import (
    admin,
    batches,
    budget,
    catalog,
    completions,
    feedback,
    files,
    health,
    jobs,
    profiles,
    usage,
)
from service.world import World


def create_app(world: World) -> Starlette:
    """The ASGI application around a `world` that has been entered; from now on it runs jobs as well."""
    metrics = Metrics()
    metrics.add(LoadMetrics(world.admission))
    metrics.add(EngineMetrics(world.pools))
    world.records.writer.on_lost = metrics.lost.inc
    world.tenants.on_settled, world.tenants.on_refused = metrics.tenants.settled, metrics.tenants.refused
    app = Starlette(
        routes=[
            *completions.ROUTES,
            *budget.ROUTES,
            *profiles.ROUTES,
            *feedback.ROUTES,
            *jobs.ROUTES,
            *batches.ROUTES,
            *files.ROUTES,
            *admin.ROUTES,
            *usage.ROUTES,
            *catalog.ROUTES,
            *health.ROUTES,
        ],
        middleware=[
            Middleware(Access, metrics=metrics, draining=world.draining),
            *_traced(world),
            Middleware(Authenticate, tenants=world.tenants),
            Middleware(
                Idempotent,
                idempotency=Idempotency(world.store, world.limits),
                limits_of=partial(batches.body_limits, world.limits),
                replayed=metrics.replayed.inc,
            ),
        ],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _client_left,
            Exception: _bug,
        },
    )
    # A redirect would send bodies and keys to what the Host header says, and without TLS.
    app.router.redirect_slashes = False
    app.state.world = world
    app.state.metrics = metrics
    app.state.created = int(time.time())
    app.state.pages = Pages(world.config)
    for collector in world.jobs.metrics.all:
        metrics.add(collector)
    world.jobs.on_finished.append(world.webhooks.job_ended)
    world.jobs.start(Performer(world, metrics), world.admission.room_for_jobs)
    world.webhooks.start()
    world.batches.start()
    return app


def _traced(world: World) -> list[Middleware]:
    if world.tracing is None:
        return []
    from service.middleware.traced import Traced

    return [Middleware(Traced, tracing=world.tracing)]


def _reply(error: ApiError) -> Response:
    return json_response(error.body(), error.status, error.headers)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _reply(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}. /docs lists the routes."
    reply = _reply(ApiError(error.status_code, "no_such_route", message))
    reply.headers.update(error.headers or {})
    return reply


async def _client_left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _bug(request: Request, error: Exception) -> Response:
    request_id = request.state.request_id
    logger().error("bug", request_id=request_id, exc_info=error)
    message = f"Aliquot failed. This is a bug; report it with the request id {request_id} and the log's entry for it."
    reply = _reply(ApiError(500, "internal_error", message))
    reply.headers["X-Request-Id"] = request_id  # this handler stands outside of Access
    return reply
