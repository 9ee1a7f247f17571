"""What can be asked for: models, strategies, verifiers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from service import reply_schemas as reply
from service.openapi import reply_docs
from service.world import BUILT_IN, World
from strategies.registry import describe, registry

router = APIRouter()


@router.get("/v1/models", **reply_docs(reply.Models))
async def models(request: Request) -> dict[str, Any]:
    """The configured models, and whether each one's engine answers."""
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


@router.get("/v1/strategies", **reply_docs(reply.Strategies))
async def strategies() -> dict[str, Any]:
    """The strategies, each with the JSON schema of its `params`."""
    return _list(map(describe, registry().values()))


@router.get("/v1/verifiers", **reply_docs(reply.Verifiers))
async def verifiers(request: Request) -> dict[str, Any]:
    """The verifiers that a request can name."""
    world: World = request.app.state.world
    built_in = [{"name": name, "kind": name, "description": text} for name, text in BUILT_IN.items()]
    configured = [
        {"name": v.name, "kind": v.kind, "description": f"{v.kind} by the model {v.model}"}
        for v in world.config.verifiers
    ]
    return _list(built_in + configured)


def _list(items: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(items)}
