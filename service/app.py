"""The application: routes, middleware and error handlers around a `World`."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.errors import ApiError
from service.logs import logger
from service.metrics import Metrics
from service.middleware.access import CLIENT_LEFT, Access
from service.openapi import describe
from service.replies import encode
from service.routes import catalog, completions, health
from service.world import World

DESCRIPTION = "A prompt and a compute budget in, the best answer that the budget buys out."


def create_app(world: World) -> FastAPI:
    """The ASGI application around a `world` that has been entered."""
    app = FastAPI(title="Aliquot", version=version("aliquot"), description=DESCRIPTION)
    app.state.world = world
    app.state.metrics = Metrics()
    for routes in (completions, catalog, health):
        app.include_router(routes.router)
    app.add_middleware(Access, metrics=app.state.metrics)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_left)
    app.add_exception_handler(Exception, _bug)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _reply(error: ApiError) -> Response:
    return Response(encode(error.body()), error.status, error.headers, "application/json")


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
    return _reply(ApiError(500, "internal_error", message))
