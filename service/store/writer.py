"""Writes behind the replies: nothing that a client waits for waits for these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

from service.logs import logger
from service.store.client import QUIET_SECONDS, Store, StoreUnavailable

MOST_WAITING: Final = 10_000
BATCH: Final = 500
PAUSE: Final = 0.01
"""Seconds before a batch is written: the reply goes first, and what comes meanwhile rides along."""


class Writer:
    """Keeps values in the store soon, in batches; what cannot be written is lost, and `on_lost` is told how many."""

    def __init__(self, store: Store) -> None:
        self.on_lost: Callable[[int], None] = lambda _: None
        self._store = store
        self._waiting: dict[str, tuple[bytes, int]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._untold = 0
        self._quiet_until = 0.0

    def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep `value` for so many seconds. Returns at once."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost(1)
            return
        self._waiting[key] = value, seconds
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    def waiting(self, key: str) -> bytes | None:
        """The value of a key that is not written yet."""
        return self._waiting[key][0] if key in self._waiting else None

    async def written(self, key: str) -> None:
        """Return when this key does not wait any more."""
        while key in self._waiting:
            await asyncio.sleep(PAUSE)

    async def drain(self) -> None:
        """Return when nothing waits any more, and nothing more is put."""
        if self._writing:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE)
            batch = list(islice(self._waiting.items(), BATCH))
            try:
                async with self._store.exchange() as redis:
                    commands = redis.pipeline(transaction=False)
                    for key, (value, seconds) in batch:
                        commands.set(key, value, ex=seconds)
                    await commands.execute()
            except Exception as error:
                self._lost(len(batch))
                if not isinstance(error, StoreUnavailable):
                    logger().error("bug", exc_info=error)
            finally:  # whatever came of it, or those that wait for it would wait for ever
                for key, _ in batch:
                    del self._waiting[key]

    def _lost(self, count: int) -> None:
        self.on_lost(count)
        self._untold += count
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            logger().error("responses_not_kept", count=self._untold)
            self._untold = 0
