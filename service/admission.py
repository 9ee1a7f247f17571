"""Which requests a replica takes on: a bounded number, and no more than the engines have room for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Literal

from engines.transport import Transport
from service.draining import Draining
from service.engine_load import EngineLoad
from service.errors import RETRY_AFTER_SECONDS, ApiError
from service.settings import Limits
from service.window import Full, Window

Priority = Literal["interactive", "job"]
Reason = Full | Literal["replica_full"]

PATIENCE_SECONDS: Final = 3.0
"""How long a request may wait for readings that find room for it, as engines get busy."""
MOST_RETRY_AFTER: Final = 60
JOBS_SHARE: Final = 0.5
"""The share of the places that interactive requests may hold where jobs are still begun."""
RATE_SECONDS: Final = 20.0
"""How far back the rate of completions looks: what is older counts for less than a third."""


class Rate:
    """Events a second, of late: each counts less by exp(-t / RATE_SECONDS)."""

    def __init__(self, now: float) -> None:
        self._began = self._last = now
        self._weight = 0.0

    def add(self, now: float) -> None:
        self._weight = self._faded(now) + 1
        self._last = now

    def at(self, now: float) -> float:
        """The rate, without the bias to 0 that a short past would give it."""
        known = RATE_SECONDS * -math.expm1(-(now - self._began) / RATE_SECONDS)
        return self._faded(now) / known if known else 0.0

    def _faded(self, now: float) -> float:
        return self._weight * math.exp((self._last - now) / RATE_SECONDS)


class Admission:
    """Takes requests on, or refuses them at once; nothing waits here but for a reading of the engines' load.

    At most `limits.requests_at_once` interactive requests are under way or wait; jobs are bounded by their workers.
    `watch` names a model's engines, which are asked for their load while they have work: see `Window`.
    """

    def __init__(self, limits: Limits, draining: Draining) -> None:
        self._limits = limits
        self._draining = draining
        self._loads: dict[str, EngineLoad] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._waiting = 0
        self._rate = Rate(time.monotonic())
        self._cut = False
        self.under_way: dict[Priority, int] = {"interactive": 0, "job": 0}
        self.admitted: dict[Priority, int] = {"interactive": 0, "job": 0}
        self.refused: dict[Reason, int] = {"replica_full": 0, "engine_waiting": 0, "kv_usage": 0}

    def watch(self, model: str, engines: Mapping[str, Transport]) -> None:
        self._loads[model] = EngineLoad(engines, Window(self._limits))

    @property
    def loads(self) -> Mapping[str, EngineLoad]:
        """By model, what its engines say of their load."""
        return self._loads

    async def close(self) -> None:
        for load in self._loads.values():
            await load.close()

    def check(self) -> None:
        """Raise ApiError 429 where the replica is full, 503 where it ends: what is not taken on need not be read."""
        if self._cut:
            raise shutting_down()
        if self.under_way["interactive"] + self._waiting >= self._limits.requests_at_once:
            raise self._refusal("replica_full")

    @asynccontextmanager
    async def entered(
        self, model: str | None = None, priority: Priority = "interactive"
    ) -> AsyncGenerator[None]:
        """A place among what is under way, for as long as the context is open; `model` is what it will ask most.

        Raises ApiError 429 where this replica is full, 503 where the model's engines are, both `overloaded`; and 503
        `shutting_down` out of the context where `cut` ends it. A job is never refused, but counts as work.
        """
        load = self._loads.get(model or "")
        if priority == "interactive":
            self.check()
        if load:
            load.begin()
        try:
            if priority == "interactive" and load and not load.window.has_room:
                await self._await_room(load)
            with self._place(load, priority):
                yield
        finally:
            if load:
                load.end()

    def room_for_jobs(self) -> bool:
        """Whether another job may be begun: interactive requests go first, in this replica and in every engine."""
        if self._draining.begun:
            return False
        few = self.under_way["interactive"] < JOBS_SHARE * self._limits.requests_at_once
        return few and all(load.window.has_room_for_jobs for load in self._loads.values())

    def cut(self) -> None:
        """End the interactive requests under way: each with ApiError 503 `shutting_down`."""
        self._cut = True
        for task in self._tasks:
            task.cancel()

    def retry_after(self) -> int:
        """Seconds until what is under way now will have ended, at the rate of late (Little's law); from 1 to 60."""
        ahead, rate = self.under_way["interactive"], self._rate.at(time.monotonic())
        if not ahead or not rate:
            return RETRY_AFTER_SECONDS
        return min(MOST_RETRY_AFTER, max(1, math.ceil(ahead / rate)))

    @contextmanager
    def _place(self, load: EngineLoad | None, priority: Priority) -> Generator[None]:
        self.admitted[priority] += 1
        self.under_way[priority] += 1
        if load:
            load.window.enter()
        task = asyncio.current_task()
        if task and priority == "interactive":
            self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._cut and task in self._tasks and not task.uncancel():
                raise shutting_down() from None
            raise
        finally:
            if task:
                self._tasks.discard(task)
            self.under_way[priority] -= 1
            if load:
                load.window.leave()
            if priority == "interactive":
                self._rate.add(time.monotonic())

    async def _await_room(self, load: EngineLoad) -> None:
        """Return once a reading has found room. Raises ApiError 503 where the engines are or stay full, or if cut."""
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not load.window.has_room:
                    if full := load.window.full(time.monotonic()):
                        raise self._refusal(full)
                    await load.next_reading()
                    if self._cut:
                        raise shutting_down()
        except TimeoutError:
            raise self._refusal("engine_waiting") from None
        finally:
            self._waiting -= 1

    def _refusal(self, reason: Reason) -> ApiError:
        self.refused[reason] += 1
        seconds = self.retry_after()
        if reason == "replica_full":
            most = self._limits.requests_at_once
            message = f"This replica has {most} requests under way, which is all it takes. Try again in {seconds} s."
            return ApiError(429, "overloaded", message, retry_after=seconds)
        message = f"The model's engines have all the work they can do in time. Try again in {seconds} s."
        return ApiError(503, "overloaded", message, retry_after=seconds)


def shutting_down() -> ApiError:
    """503: the service ends, and what was under way with it."""
    message = "This replica of the service was told to end, and its time to finish is over. Try again."
    return ApiError(503, "shutting_down", message, retry_after=1)
