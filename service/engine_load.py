"""Asking a model's engines how busy they are, while there is work for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from typing import Final

from engines.base import EngineError
from engines.load import Load, read_load, together
from engines.transport import Transport
from service.window import Window

SECONDS: Final = 1.0
"""Between two readings."""
QUICK_SECONDS: Final = 0.25
"""The same where sequences wait in an engine, or requests here for what the next reading says."""
WITHIN_SECONDS: Final = 0.5
"""What a reading may take."""
FAILED_SECONDS: Final = 10.0
"""How long an engine is not asked that did not tell its load: one that has no /metrics should not be bothered."""


class _Source:
    """One engine, and what it said last; None where it says nothing."""

    def __init__(self, name: str, engine: Transport) -> None:
        self.name = name
        self.engine = engine
        self.load: Load | None = None
        self._again_at = 0.0

    async def ask(self) -> None:
        if time.monotonic() < self._again_at:
            return
        self.load = None
        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(WITHIN_SECONDS):
                self.load = read_load(await self.engine.get("/metrics"))
        if self.load is None:
            self._again_at = time.monotonic() + FAILED_SECONDS


class EngineLoad:
    """The load of one model's engines, read into `window` by one task, which ends once no work is under way."""

    def __init__(self, engines: Mapping[str, Transport], window: Window) -> None:
        self.window = window
        self._sources = [_Source(name, engine) for name, engine in engines.items()]
        self._working = 0
        self._task: asyncio.Task[None] | None = None
        self._read = asyncio.Event()
        self._wanted = asyncio.Event()

    @property
    def loads(self) -> dict[str, Load]:
        """What each engine said last, where that is not old."""
        return {source.name: source.load for source in self._sources if source.load}

    def begin(self) -> None:
        """There is one more piece of work, waiting or under way, until `end`."""
        self._working += 1
        if self._task is None:
            # In no request's context: what is carried there, a trace's header say, is not meant for this.
            self._task = asyncio.create_task(self._run(), context=Context())

    def end(self) -> None:
        self._working -= 1

    async def next_reading(self) -> None:
        """Return once the engines have been asked again, which is soon. To be awaited by work that has begun."""
        self._wanted.set()
        await self._read.wait()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        for source in self._sources:
            await source.engine.close()

    async def _run(self) -> None:
        while self._working:
            await asyncio.gather(*(source.ask() for source in self._sources))
            load = together(source.load for source in self._sources if source.load)
            self.window.heard(load, time.monotonic())
            self._read.set()
            self._read = asyncio.Event()
            await self._pause(QUICK_SECONDS if load and load.waiting else SECONDS)
        self._task = None
        self.window.rest()
        for source in self._sources:
            source.load = None

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(QUICK_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - QUICK_SECONDS):
                await self._wanted.wait()
        self._wanted.clear()
