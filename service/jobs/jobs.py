"""Jobs as the service uses them: submitted, looked at, cancelled, listened to, and run by this replica's worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final
from uuid import uuid4

import msgspec

from service.errors import ApiError
from service.jobs.events import Event, check_event_id, listen
from service.jobs.metrics import JobMetrics
from service.jobs.pace import Pace
from service.jobs.store import JobStore, Kept
from service.jobs.views import JobView, Priority
from service.jobs.worker import Perform, Worker
from service.logs import logger
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.tenants.tenant import Tenant

MOST_LISTENERS: Final = 256
"""Streams of events that one process sends at once; each asks the store four times a second."""
LISTENERS_SECONDS: Final = 5
MOST_TELLING: Final = 64
"""Ended jobs whose hooks run at once; of others another replica, or this one, calls them a minute later."""

Hook = Callable[[JobView], Awaitable[None]]


class _Asked(msgspec.Struct):
    model: str


class Jobs:
    """Jobs of all replicas that share the store. Raises StoreUnavailable where it does not answer.

    `on_finished` are awaited with each job that ended, at least once, by some replica, and again later where they
    raise or their process dies.
    """

    def __init__(self, store: Store, limits: Limits, pace: Pace | None = None) -> None:
        self.metrics = JobMetrics()
        self.on_finished: list[Hook] = []
        self._limits = limits
        self._pace = pace or Pace()
        self._jobs = JobStore(store, limits)
        self._worker: Worker | None = None
        self._listeners = 0
        self._telling: set[asyncio.Task[None]] = set()

    def start(self, perform: Perform, room: Callable[[], bool]) -> None:
        """Run jobs in this process, as long as there is `room`."""
        self._worker = Worker(
            self._jobs, self._limits, self._pace, self.metrics, perform=perform, room=room, ended=self._ended
        )
        self._worker.start()

    async def drain(self) -> None:
        """Run no more jobs here; those that run are handed back, and another replica goes on with them at once."""
        if self._worker:
            await self._worker.drain()
            self._worker = None

    async def close(self) -> None:
        """Leave what is under way to other replicas."""
        await self.drain()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def submit(
        self,
        tenant: Tenant,
        request_body: bytes,
        *,
        webhook: str | None = None,
        priority: Priority = "interactive",
        id: str | None = None,
    ) -> JobView:
        """Keep a job that runs `request_body`, the JSON of a ChatRequest that was checked, and queue it.

        With an `id` that this tenant has used before, the job of that id as it is now. Raises ApiError 429 where too
        many wait.
        """
        id = id or f"job_{uuid4().hex}"
        model = msgspec.json.decode(request_body, type=_Asked).model
        view = await self._jobs.submit(
            tenant.name, id, request_body, model=model, webhook=webhook, priority=priority
        )
        if self._worker:
            self._worker.wake()
        return view

    async def get(self, tenant: Tenant, id: str) -> JobView:
        """A job. Raises ApiError 404 where the tenant has none of that id."""
        return await self._jobs.view(tenant.name, id)

    async def result(self, tenant: Tenant, id: str) -> bytes | None:
        """The JSON of a completed job's outcome; None of any other. Raises ApiError 404."""
        return (await self._jobs.whole(tenant.name, id))[1]

    async def whole(self, tenant: Tenant, id: str) -> tuple[JobView, bytes | None]:
        """A job and its result. Raises ApiError 404."""
        return await self._jobs.whole(tenant.name, id)

    async def kept(self, tenant: Tenant, id: str) -> Kept:
        """A job's request and journal. Raises ApiError 404."""
        await self.get(tenant, id)
        return await self._jobs.kept(id)

    async def page(self, tenant: Tenant, after: str | None, limit: int) -> tuple[list[JobView], bool]:
        """Jobs, newest first, from behind `after` on, and whether there are more. Raises ApiError 404."""
        return await self._jobs.page(tenant.name, after, limit)

    async def cancel(self, tenant: Tenant, id: str) -> JobView:
        """A job that has ended: as cancelled, unless it had before. Its calls are closed within half a second.

        Raises ApiError 404.
        """
        if await self._jobs.cancel(tenant.name, id):
            self.metrics.ended.labels("cancelled").inc()
            self._ended(tenant.name, id)
        return await self.get(tenant, id)

    async def events(self, tenant: Tenant, id: str, after: str | None) -> AsyncGenerator[Event | None] | None:
        """A job's events behind `after`, as they come, to its end, and None now and then while there are none; no
        generator where there is nothing more to come.

        Raises ApiError 400 for an `after` that is no event's id, 404, and 429 where too many listen.
        """
        begin = check_event_id(after)
        await self.get(tenant, id)
        ended, more = await self._jobs.events(id, begin, 1)
        if ended and not more:
            return None
        if self._listeners >= MOST_LISTENERS:
            message = (
                f"{MOST_LISTENERS} streams of events are open, and no more are. Ask for the job now and then."
            )
            raise ApiError(429, "too_many_listeners", message, retry_after=LISTENERS_SECONDS)
        return self._listen(id, begin)

    async def _listen(self, id: str, after: str) -> AsyncGenerator[Event | None]:
        self._listeners += 1
        try:
            async with aclosing(listen(self._jobs, id, after, self._pace)) as events:
                async for event in events:
                    yield event
        finally:
            self._listeners -= 1

    def _ended(self, tenant: str, id: str) -> None:
        """Call the hooks, behind what goes on."""
        if len(self._telling) < MOST_TELLING:
            task = asyncio.create_task(self._tell(tenant, id))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, tenant: str, id: str) -> None:
        try:
            view = await self._jobs.view(tenant, id)
            for hook in self.on_finished:
                await hook(view)
            await self._jobs.told(id)
        except StoreUnavailable:
            pass  # tried again in a minute
        except Exception as error:
            logger().error("bug", job=id, exc_info=error)
