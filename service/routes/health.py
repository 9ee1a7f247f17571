"""Whether the service lives, whether it can answer, and what it has counted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service import reply_schemas as reply
from service.openapi import reply_docs
from service.world import World

router = APIRouter()

_NOT_READY = {503: {"description": "An engine does not answer yet.", "model": reply.Readiness}}


@router.get("/healthz", **reply_docs(reply.Health))
async def healthz() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@router.get("/readyz", **(reply_docs(reply.Readiness) | {"responses": _NOT_READY}))
async def readyz(request: Request) -> Response:
    """200 once every engine is warm and answers, 503 else."""
    world: World = request.app.state.world
    engines: dict[str, Any] = await world.ready()
    ready = all(engines.values())
    return JSONResponse({"status": "ok" if ready else "not_ready", "engines": engines}, 200 if ready else 503)


@router.get("/metrics", response_model=None, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")
