"""A world in front of a stand-in engine, without the service around it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from engines.scripted import ScriptedEngine
from service.settings import WorldConfig
from service.world import World
from tests.redis_server import stored
from tests.service.tenants.asking import guarded
from tests.stand_ins import MODEL, StandInVllm, serving


@asynccontextmanager
async def world_of(model: dict[str, Any] | None = None) -> AsyncGenerator[World]:
    """The world; `model` adds to its model's configuration."""
    async with serving(StandInVllm(ScriptedEngine(["15"] * 64)).app()) as url:
        models = [{"name": MODEL, "urls": [url]} | (model or {})]
        async with World(stored(guarded()), WorldConfig.model_validate({"models": models})) as world:
            yield world
