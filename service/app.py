"""The application: routes, middleware and error handlers around a `World`."""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.errors import ApiError
from service.logs import logger
from service.metrics import Metrics
from service.middleware.access import CLIENT_LEFT, Access
from service.openapi import Pages
from service.replies import json_response
from service.routes import budget, catalog, completions, feedback, health, profiles
from service.world import World


def create_app(world: World) -> Starlette:
    """The ASGI application around a `world` that has been entered."""
    metrics = Metrics()
    world.records.writer.on_lost = metrics.lost.inc
    app = Starlette(
        routes=[
            *completions.ROUTES,
            *budget.ROUTES,
            *profiles.ROUTES,
            *feedback.ROUTES,
            *catalog.ROUTES,
            *health.ROUTES,
        ],
        middleware=[Middleware(Access, metrics=metrics)],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _client_left,
            Exception: _bug,
        },
    )
    app.state.world = world
    app.state.metrics = metrics
    app.state.created = int(time.time())
    app.state.pages = Pages(world.config)
    return app


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
