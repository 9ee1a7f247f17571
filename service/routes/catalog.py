"""What can be asked for: models, strategies, verifiers, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.replies import json_response
from service.settings import ModelConfig
from service.world import World
from strategies.registry import describe, registry


async def models(request: Request) -> Response:
    world: World = request.app.state.world
    ready = await world.ready()
    return _list(_model(request, m, ready[m.name]) for m in world.config.models)


async def model(request: Request) -> Response:
    world: World = request.app.state.world
    name = request.path_params["id"]
    ready = await world.engine(name, "id").ready()
    (found,) = (m for m in world.config.models if m.name == name)
    return json_response(_model(request, found, ready))


async def strategies(_: Request) -> Response:
    return _list(map(describe, registry().values()))


async def verifiers(request: Request) -> Response:
    world: World = request.app.state.world
    return _list(world.verifiers.catalog())


async def openapi(request: Request) -> Response:
    return Response(request.app.state.pages.openapi, media_type="application/json")


async def docs(request: Request) -> Response:
    return Response(request.app.state.pages.docs, media_type="text/html")


def _model(request: Request, config: ModelConfig, ready: bool) -> dict[str, Any]:
    """OpenAI's model; `created` is when this service began to offer it."""
    return {
        "id": config.name,
        "object": "model",
        "created": request.app.state.created,
        "owned_by": "aliquot",
        "ready": ready,
        **config.model_dump(include={"hardware", "accelerators", "usd_per_hour"}),
    }


def _list(items: Iterable[Any]) -> Response:
    return json_response({"object": "list", "data": list(items)})


ROUTES = [
    Route("/v1/models", models),
    Route("/v1/models/{id:path}", model),
    Route("/v1/strategies", strategies),
    Route("/v1/verifiers", verifiers),
    Route("/openapi.json", openapi),
    Route("/docs", docs),
]
