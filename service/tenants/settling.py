"""Settlements behind the replies: charged soon, in batches, and kept for as long as the store does not answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import Final

from service.logs import logger
from service.store.client import StoreUnavailable
from service.tenants.quotas import Quotas, Settlement

MOST_WAITING: Final = 10_000
"""Beyond these, requests are charged in full when their leases run out."""
MOST_UNDOING: Final = 5_000
"""With so many waiting, nothing is undone: there is to be room for what was spent."""
BATCH: Final = 100
RETRY_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 3.0
"""What the end of the service waits for a store that does not answer."""


class Settling:
    """Charges what was put, each once; what cannot be charged while the service runs is charged in full later."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._waiting: dict[tuple[str, str], tuple[Settlement, asyncio.Future[None]]] = {}
        self._writing: asyncio.Task[None] | None = None

    def put(self, settlement: Settlement) -> asyncio.Future[None]:
        """Charge soon. Returns at once; what it returns is done once this was tried."""
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MOST_WAITING:
            logger().error("settlement_dropped", tenant=settlement.tenant, id=settlement.id)
            tried.set_result(None)
            return tried
        self._waiting[settlement.tenant, settlement.id] = settlement, tried
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return tried

    def undo(self, settlement: Settlement) -> None:
        """Free soon what may be held and will not be spent."""
        if self.waiting < MOST_UNDOING:
            self.put(settlement)

    @property
    def waiting(self) -> int:
        """Settlements that are not charged yet."""
        return len(self._waiting)

    async def close(self) -> None:
        """Return when all is charged, or the store has not answered for some seconds."""
        if self._writing:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._writing
            if self._waiting:
                logger().error("settlements_left", count=len(self._waiting))

    async def _write(self) -> None:
        while self._waiting:
            batch = dict(islice(self._waiting.items(), BATCH))
            down = False
            try:
                await self._quotas.settle([settlement for settlement, _ in batch.values()])
            except StoreUnavailable:
                down = True
            except Exception as error:
                logger().error("bug", exc_info=error)
            for id, (settlement, tried) in batch.items():
                if not tried.done():
                    tried.set_result(None)
                if not down and self._waiting[id][0] is settlement:
                    del self._waiting[id]
            if down:
                await asyncio.sleep(RETRY_SECONDS)
