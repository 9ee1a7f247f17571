"""A job in the hands of a worker: what its run finds out is kept here, as long as the job is surely the worker's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import msgspec

from engines.base import EngineError
from service.errors import ApiError
from service.jobs.pace import Pace
from service.jobs.store import Held, JobStore, Kept, Mark
from service.jobs.views import Status
from service.store.client import StoreUnavailable
from strategies.journal import Draw, Opened, Record, Retried, Scored, Settled
from strategies.journal_codec import encode_record
from strategies.search import Event

T = TypeVar("T")

Reason = Literal["lost", "cancelled", "handed_back"]
"""Why a run was broken off."""


class LeaseLost(Exception):
    """Another worker may have the job, or it has ended: nothing more of this attempt counts."""


class Lease:
    """A `held` job. Writes wait for the store for as long as the lease is surely held, and raise LeaseLost after.

    `broken_off` says why its run was, `ending` that its end is being written.
    """

    def __init__(self, store: JobStore, held: Held, pace: Pace, asked_at: float) -> None:
        self.held = held
        self.broken_off: Reason | None = None
        self.ending = False
        self._store = store
        self._pace = pace
        self._renewed = asked_at
        self._length = 0
        self._heard = 0
        self._unsaid: list[bytes] = []
        self._writing = asyncio.Lock()

    @property
    def overdue(self) -> bool:
        """Whether the lease may have run out."""
        return time.monotonic() > self._renewed + self._pace.sure

    def renewed(self, asked_at: float) -> None:
        """The store has renewed the lease, having been asked at that time (monotonic)."""
        self._renewed = asked_at

    async def kept(self) -> Kept:
        """The request, and the journal's lines so far, behind which records are kept from now on."""
        kept = await self._until_lost(lambda: self._store.kept(self.held.id))
        self._length = len(kept.lines)
        return kept

    async def keep(self, record: Record) -> None:
        """Append a record to the journal, and publish what was heard before it."""
        await self.keep_line(encode_record(record), _mark(record))

    async def keep_line(self, line: bytes, mark: Mark = "") -> None:
        """Append a line to the journal."""
        async with self._writing:
            await self._append(self._length, line, mark)
            self._length += 1

    def hear(self, event: Event) -> None:
        """An event of the run, to be published soon."""
        self._unsaid.append(msgspec.json.encode(event))

    async def publish_now(self) -> bool:
        """Publish what was heard, unless a write is waiting already; False if the lease is lost. Raises
        StoreUnavailable."""
        if not self._unsaid or self._writing.locked() or self.ending:
            return True
        async with self._writing:
            events = list(self._unsaid)
            kept = await self._store.append(self.held, -1, b"", "", self._heard, events)
            if kept:
                self._said(len(events))
            return kept

    async def finish(self, status: Status, *, error: ApiError | None = None, result: bytes = b"") -> None:
        """End the job."""
        self.ending = True
        await self._publish()
        told = msgspec.json.encode(error.body()["error"]) if error else b""
        await self._write(lambda: self._store.finish(self.held, status, told, result))

    async def give_up(self, seconds: float | None, *, counts: bool = True) -> None:
        """Let the job be taken again after so many seconds, or with None at once. An attempt that does not count, and
        one with None, was not fruitless."""
        self.ending = True
        await self._publish()
        await self._write(lambda: self._store.give_up(self.held, seconds, self._pace.lease, counts=counts))

    async def _publish(self) -> None:
        async with self._writing:
            if self._unsaid:
                await self._append(-1, b"", "")

    async def _append(self, index: int, line: bytes, mark: Mark) -> None:
        events = list(self._unsaid)
        await self._write(lambda: self._store.append(self.held, index, line, mark, self._heard, events))
        self._said(len(events))

    def _said(self, count: int) -> None:
        self._heard += count
        del self._unsaid[:count]

    async def _write(self, write: Callable[[], Awaitable[bool]]) -> None:
        if not await self._until_lost(write):
            raise LeaseLost

    async def _until_lost(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, once it does."""
        while not self.overdue:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(self._pace.pause)
        raise LeaseLost


def _mark(record: Record) -> Mark:
    """Progress is what no attempt after this one does again: neither a failed call, nor what is found within a call."""
    match record:
        case Retried():
            return "retried"
        case Draw(failure=EngineError(), drawn=[]):
            return "failed"
        case Opened() | Scored(within=int()) | Settled(within=int()):
            return ""
    return "fruitful"
