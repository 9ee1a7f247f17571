"""Batches as the service uses them: kept, fed to the jobs' queue piece by piece, and ended with their last line."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

from service.batches.files import Files
from service.batches.lines import Read
from service.batches.store import BatchStore, Look
from service.batches.views import BatchView, Made
from service.errors import ApiError
from service.jobs.jobs import Jobs
from service.logs import logger
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.tenants.tenant import Tenant
from service.webhooks.queue import Webhooks

PAUSE: Final = 0.5
"""Seconds between looks at batches: how late their counts may be."""
BUSY_PAUSE: Final = 5.0
"""Before lines are submitted again, after the queue was full."""
MOST_CREATING: Final = 8
"""Bodies of batches and files that one replica reads, checks and keeps at once."""
SUBMITTING: Final = 16
"""Exchanges with the store at once, of one replica."""


class Batches:
    """Batches of all replicas that share the store; any of them looks after any batch, one at a time."""

    def __init__(self, store: Store, limits: Limits, jobs: Jobs, webhooks: Webhooks) -> None:
        self.files = Files(store, limits)
        self._batches = BatchStore(store, limits)
        self._jobs = jobs
        self._webhooks = webhooks
        self._creating = 0
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after batches from now on."""
        self._loop = self._loop or asyncio.create_task(self._forever())

    async def close(self) -> None:
        """Leave all to other replicas."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    @contextmanager
    def creating(self) -> Generator[None]:
        """A place for a batch's body. Raises ApiError 429 where too many are read and checked already."""
        if self._creating >= MOST_CREATING:
            message = f"This replica takes {MOST_CREATING} new batches at once. Send this one again shortly."
            raise ApiError(429, "overloaded", message, retry_after=1)
        self._creating += 1
        try:
            yield
        finally:
            self._creating -= 1

    async def create(self, tenant: Tenant, read: Read, made: Made) -> BatchView:
        """Keep a batch of lines that were checked. Raises ApiError 429 where the tenant has too many open."""
        id = f"batch_{uuid4().hex}"
        await self._batches.create(tenant.name, id, read.endpoint, read.lines, made)
        self._wake.set()
        return await self.get(tenant, id)

    async def get(self, tenant: Tenant, id: str) -> BatchView:
        """A batch. Raises ApiError 404 where the tenant has none of that id."""
        return await self._batches.view(tenant.name, id)

    async def page(self, tenant: Tenant, after: str | None, limit: int) -> tuple[list[BatchView], bool]:
        """Batches, newest first, from behind `after` on, and whether there are more. Raises ApiError 404."""
        return await self._batches.page(tenant.name, after, limit)

    async def cancel(self, tenant: Tenant, id: str) -> BatchView:
        """A batch whose lines end within seconds: as cancelled, but for those that had. Raises ApiError 404."""
        await self._batches.cancel(tenant.name, id)
        self._wake.set()
        return await self.get(tenant, id)

    @property
    def kept(self) -> BatchStore:
        return self._batches

    async def _forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                while taken := await self._batches.take():
                    for id in taken:
                        await self._look(id)
            except StoreUnavailable:
                pass  # the store tells of its own failures
            except Exception as error:
                logger().error("bug", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._wake.wait()

    async def _look(self, id: str) -> None:
        """Do what is to be done for a batch that was taken, and say when to look again."""
        found = await self._batches.look(id)
        if found is None:
            return
        if found.status == "in_progress":
            await self._batches.later(id, await self._feed(id, found))
        elif found.status == "cancelling":
            await self._cancel(id, found.tenant, found.running)
            await self._batches.later(id, PAUSE)
        elif found.webhook:
            view = await self._batches.view(found.tenant, id)
            await self._webhooks.tell(found.webhook, f"batch.{view.status}", view.finished or 0, view.reply())
            await self._batches.told(id)

    async def _feed(self, id: str, found: Look) -> float:
        """Make jobs of lines; the seconds after which to look again."""
        if not found.bodies:
            return PAUSE
        first, upto = found.next, found.next + len(found.bodies)
        at_once = asyncio.Semaphore(SUBMITTING)

        async def submit(number: int, body: bytes) -> None:
            async with at_once:
                owner = Tenant(found.tenant)
                await self._jobs.submit(owner, body, priority="batch", id=f"{id}-{number}")

        numbered = enumerate(found.bodies, first)
        ended = await asyncio.gather(*(submit(*one) for one in numbered), return_exceptions=True)
        # What comes behind a line that failed is found again by its id.
        done, failed = next(((n, e) for n, e in enumerate(ended) if e is not None), (len(ended), None))
        if failed is not None and not isinstance(failed, ApiError):
            raise failed
        if await self._batches.fed(id, first + done) != "in_progress":
            await self._cancel(id, found.tenant, range(first, upto))
        elif failed is not None:
            return BUSY_PAUSE
        return 0

    async def _cancel(self, id: str, tenant: str, numbers: Sequence[int]) -> None:
        at_once = asyncio.Semaphore(SUBMITTING)

        async def cancel(number: int) -> None:
            async with at_once:
                with suppress(ApiError):  # it is gone, or found again when the batch is looked at again
                    await self._jobs.cancel(Tenant(tenant), f"{id}-{number}")

        await asyncio.gather(*map(cancel, numbers))
