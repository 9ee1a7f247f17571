"""A real service in front of the simulated world, and problems of that world with their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engines.simulated.engine import SimulatedEngine
from engines.simulated.problems import SimulatedSettings
from engines.simulated.world import SimulatedWorld
from tests.engines.simulated.serving import serving_world
from tests.service.live import listening

SETTINGS = SimulatedSettings(accuracy=0.4, steps=(2, 3), step_tokens=14)


class Counting(SimulatedEngine):
    """Remembers which problem each call asked; once `allowed` calls have been answered the others wait.

    `waiting`: how many calls wait.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        super().__init__(world)
        self.asked: list[int] = []
        self.allowed = asyncio.Semaphore(100_000)
        self.waiting = 0

    async def draw(self, call):
        self.asked.append(self.world.split(call.prompts[0])[0].index)
        self.waiting += 1
        try:
            await self.allowed.acquire()
        finally:
            self.waiting -= 1
        return await super().draw(call)


class Simulated:
    """The service's address, and the engine behind it."""

    def __init__(self, url: str, engine: Counting) -> None:
        self.url = url
        self.engine = engine

    def problems(self, file: Path, count: int) -> Path:
        """`file`, written with problems 0 to `count` - 1 and their answers."""
        world = self.engine.world
        lines = ({"question": world.question(i), "answer": world.problem(i).answer} for i in range(count))
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file


@asynccontextmanager
async def simulated(**more: Any) -> AsyncGenerator[Simulated]:
    """A service whose model is a world of short problems; `orm` is its outcome reward. `more` is configuration."""
    engine = Counting(SimulatedWorld(SETTINGS))
    async with serving_world(engine) as engine_url:
        config = {
            "models": [{"name": "simulated", "urls": [engine_url]}],
            "verifiers": [
                {"name": "orm", "kind": "outcome_reward", "url": engine_url, "model": "simulated-orm"}
            ],
        }
        async with listening(config | more) as url:
            yield Simulated(url, engine)
