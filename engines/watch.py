"""Whether a server that calls wait for still gives a sign of life: so hung is told from slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import Context

EVERY_SECONDS = 2.0
"""How often a server that says nothing is asked for a sign of life, and how long it has to give one."""
MOST_MISSES = 2
"""Signs missed in a row that make a server count as hung."""


class Watch:
    """Watches one server while calls wait for it.

    `lives` asks it for a sign of life: False where none came within `EVERY_SECONDS`. It is asked that often, but only
    while calls wait and no other sign was `heard`: a server that answers is never asked. After `MOST_MISSES` in a row
    the server is `hung`, and what waits is ended; it is asked on until it gives a sign. A call that gives up sooner
    leaves the watch on, so that short deadlines do not hide a hung server.
    """

    def __init__(self, lives: Callable[[], Awaitable[bool]]) -> None:
        self.hung = False
        self._lives = lives
        self._ends: set[Callable[[], object]] = set()
        self._begun = 0
        self._signs = 0
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def waiting(self, end: Callable[[], object]) -> Generator[None]:
        """A block that waits for the server; `end` is called where it is hung, to make what is awaited fail."""
        if self._looking is None:
            # In a context of its own: that of the call which happens to come first means nothing here.
            look = self._look(self._begun, self._signs)
            self._looking = asyncio.create_task(look, context=Context())
        self._ends.add(end)
        self._begun += 1
        try:
            yield
        finally:
            self._ends.discard(end)

    def heard(self) -> None:
        """Note a sign of life."""
        self._signs += 1
        self.hung = False

    def close(self) -> None:
        if self._looking:
            self._looking.cancel()

    async def _look(self, begun: int, signs: int) -> None:
        try:
            await self._look_until_idle(begun, signs)
        finally:
            self._looking = None

    async def _look_until_idle(self, begun: int, signs: int) -> None:
        """Look every now and then, until nothing has waited for a while and no sign is missing."""
        now = asyncio.get_running_loop().time
        missed, due = 0, now() + EVERY_SECONDS
        while True:
            await asyncio.sleep(due - now())
            due = now() + EVERY_SECONDS
            if self._signs != signs:
                missed = 0
            elif missed or self._ends or self._begun != begun:
                lives = await self._lives()
                missed = 0 if lives or self._signs != signs else missed + 1
                self._conclude(missed)
            else:
                return
            begun, signs = self._begun, self._signs

    def _conclude(self, missed: int) -> None:
        self.hung = missed >= MOST_MISSES
        if self.hung:
            ends, self._ends = self._ends, set()
            for end in ends:
                end()
