"""What can be asked for: models, strategies, verifiers, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.openapi import describe as describe_api
from service.openapi import page
from service.replies import json_response
from service.world import BUILT_IN, World
from strategies.registry import describe, registry


async def models(request: Request) -> Response:
    world: World = request.app.state.world
    ready = await world.ready()
    shown = {"hardware", "accelerators", "usd_per_hour"}
    return _list(
        {
            "id": m.name,
            "object": "model",
            "owned_by": "aliquot",
            "ready": ready[m.name],
            **m.model_dump(include=shown),
        }
        for m in world.config.models
    )


async def strategies(_: Request) -> Response:
    return _list(map(describe, registry().values()))


async def verifiers(request: Request) -> Response:
    world: World = request.app.state.world
    built_in = [{"name": name, "kind": name, "description": text} for name, text in BUILT_IN.items()]
    configured = [
        {"name": v.name, "kind": v.kind, "description": f"{v.kind} by the model {v.model}"}
        for v in world.config.verifiers
    ]
    return _list(built_in + configured)


async def openapi(request: Request) -> Response:
    return json_response(_description(request))


async def docs(request: Request) -> Response:
    return Response(page(_description(request)), media_type="text/html")


def _description(request: Request) -> dict[str, Any]:
    world: World = request.app.state.world
    return describe_api(world.config)


def _list(items: Iterable[Any]) -> Response:
    return json_response({"object": "list", "data": list(items)})


ROUTES = [
    Route("/v1/models", models),
    Route("/v1/strategies", strategies),
    Route("/v1/verifiers", verifiers),
    Route("/openapi.json", openapi),
    Route("/docs", docs),
]
