"""A replica's worker: takes jobs while there is room, holds their leases, and ends each one once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from service.errors import ApiError
from service.jobs.lease import Lease, LeaseLost, Reason
from service.jobs.metrics import JobMetrics
from service.jobs.pace import Pace
from service.jobs.store import JobStore
from service.jobs.views import Status
from service.logs import logger
from service.settings import Limits
from service.store.client import StoreUnavailable

REPEATED: Final = (429, 503)
"""Ends of attempts that another time may go otherwise."""
MOST_BACKOFF: Final = 60.0
SOON: Final = 5
"""Tries after which the wait for what other runs hold grows no more: 16 seconds."""
HAND_BACK_SECONDS: Final = 3.0
"""What the store has to note that jobs are handed back, or ended just now."""

Perform = Callable[[Lease], Awaitable[bytes]]
"""Runs a job from where its journal ends, and returns its result. Raises ApiError, TryAgain or LeaseLost."""
Ended = Callable[[str, str], None]
"""Told of a job that ended, by its tenant and id."""


class TryAgain(Exception):
    """The engine failed midway: there is something in hand, and the next try may go on from there."""


class Worker:
    """Runs up to `limits.jobs_at_once` jobs, and takes one only while there is `room`."""

    def __init__(
        self,
        store: JobStore,
        limits: Limits,
        pace: Pace,
        metrics: JobMetrics,
        *,
        perform: Perform,
        room: Callable[[], bool],
        ended: Ended,
    ) -> None:
        self._store = store
        self._limits = limits
        self._pace = pace
        self._metrics = metrics
        self._perform = perform
        self._room = room
        self._ended = ended
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._wake = asyncio.Event()
        self._renewed = 0.0
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take jobs."""
        steps = self._take, self._watch, self._check
        self._loops = [asyncio.create_task(self._forever(step)) for step in steps]

    def wake(self) -> None:
        """Look for a job now."""
        self._wake.set()

    async def drain(self) -> None:
        """Take no more, and hand back what runs: another replica goes on with it at once."""
        for loop in self._loops:
            loop.cancel()
        for task in list(self._running):
            self._break_off(task, "handed_back")
        if self._running:
            await asyncio.wait(self._running, timeout=HAND_BACK_SECONDS)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._loops, *self._running, return_exceptions=True)
        self._loops.clear()

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step, whatever comes of it; the store tells of its own failures."""
        while True:
            try:
                await step()
            except StoreUnavailable:
                await asyncio.sleep(self._pace.pause)
            except Exception as error:
                logger().error("bug", exc_info=error)
                await asyncio.sleep(self._pace.pause)

    async def _take(self) -> None:
        """Take jobs until there is no room or none is left, then wait a moment."""
        self._wake.clear()
        while len(self._running) < self._limits.jobs_at_once and self._room():
            asked_at = time.monotonic()
            held = await self._store.take(self._pace.lease)
            if held is None:
                break
            lease = Lease(self._store, held, self._pace, asked_at)
            task = asyncio.create_task(self._work(lease))
            self._running[task] = lease
            task.add_done_callback(self._forget)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.idle):
                await self._wake.wait()

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._metrics.running.set(len(self._running))
        self._wake.set()

    async def _check(self) -> None:
        """Break off what may be another's. Apart from what waits for the store."""
        await asyncio.sleep(self._pace.watch)
        for task, lease in list(self._running.items()):
            if lease.overdue:
                self._break_off(task, "lost")

    async def _watch(self) -> None:
        """Renew the leases now and then, break off what was cancelled or lost, and publish what was heard."""
        await asyncio.sleep(self._pace.watch)
        asked_at = time.monotonic()
        held = list(self._running.items())
        renew = asked_at >= self._renewed + self._pace.renew
        if not held and not renew:
            return
        waiting, states = await self._store.watch([lease.held for _, lease in held], renew=renew)
        self._metrics.waiting.set(waiting)
        for (task, lease), state in zip(held, states, strict=True):
            if state != "held":
                self._break_off(task, state)
            elif renew:
                lease.renewed(asked_at)
        for task, lease in held:
            if not await lease.publish_now():
                self._break_off(task, "lost")
        if renew:
            self._renewed = asked_at
            for tenant, id in await self._store.untold():
                self._ended(tenant, id)

    def _break_off(self, task: asyncio.Task[None], reason: Reason) -> None:
        """Cancel a run, once; not while its end is being written, which the store takes or refuses."""
        lease = self._running.get(task)
        if lease and lease.broken_off is None and not lease.ending:
            lease.broken_off = reason
            task.cancel()

    async def _work(self, lease: Lease) -> None:
        """One attempt at a job, from when it was taken until it ended or was given up."""
        self._metrics.running.set(len(self._running))
        self._metrics.begun.inc()
        if lease.held.taken_over:
            self._metrics.taken_over.inc()
        try:
            await self._attempt(lease)
        except LeaseLost:
            await self._lost(lease)
        except asyncio.CancelledError:
            if lease.broken_off == "handed_back":
                await self._hand_back(lease)
            elif lease.broken_off == "lost":
                await self._lost(lease)
            elif lease.broken_off is None:
                raise

    async def _attempt(self, lease: Lease) -> None:
        held = lease.held
        if held.fruitless > self._limits.job_attempts:
            await self._end(lease, "failed", error=_abandoned(self._limits.job_attempts))
            return
        try:
            result = await self._perform(lease)
        except TryAgain:
            await lease.give_up(backoff(held.fruitless, None))
        except ApiError as error:
            if is_held(error):
                await lease.give_up(backoff(min(held.attempt, SOON), error.retry_after), counts=False)
            elif error.status in REPEATED and held.fruitless < self._limits.job_attempts:
                await lease.give_up(backoff(held.fruitless, error.retry_after))
            else:
                await self._end(lease, "failed", error=error)
        except LeaseLost:
            raise
        except Exception as bug:
            logger().error("bug", job=held.id, exc_info=bug)
            await self._end(lease, "failed", error=_failed(held.id))
        else:
            await self._end(lease, "completed", result=result)

    async def _end(
        self, lease: Lease, status: Status, *, error: ApiError | None = None, result: bytes = b""
    ) -> None:
        await lease.finish(status, error=error, result=result)
        self._metrics.ended.labels(status).inc()
        logger().info("job", job=lease.held.id, status=status, attempts=lease.held.attempt)
        self._ended(lease.held.tenant, lease.held.id)

    async def _hand_back(self, lease: Lease) -> None:
        """So that nobody waits for the lease to run out; where the store does not answer now, somebody will."""
        with suppress(LeaseLost, StoreUnavailable):
            await lease.give_up(None)
            self._metrics.handed_back.inc()

    async def _lost(self, lease: Lease) -> None:
        """Tell of a lease that was lost, unless the job was cancelled, which a write may find before the next look."""
        with suppress(StoreUnavailable):
            _, states = await self._store.watch([lease.held], renew=False)
            if states == ["cancelled"]:
                return
        self._metrics.leases_lost.inc()
        logger().warning("lease_lost", job=lease.held.id, attempt=lease.held.attempt)


def is_held(error: ApiError) -> bool:
    """Whether other runs of the tenant hold what is left of its quota: that passes when they end, so nothing failed."""
    return error.status == 429 and (error.retry_after or 0) <= MOST_BACKOFF


def backoff(tries: int, asked: int | None) -> float:
    """Seconds until the next try after so many: 1, 2, 4, …, 60, and no sooner than was asked."""
    return max(min(MOST_BACKOFF, 2.0 ** min(tries - 1, 6)), asked or 0)


def _abandoned(attempts: int) -> ApiError:
    message = (
        f"The job was begun {attempts} times, and each time the service that ran it ended or lost the store before "
        "the job got on. The services' logs say why; submit it again after."
    )
    return ApiError(500, "attempts_exhausted", message)


def _failed(id: str) -> ApiError:
    message = f"Aliquot failed. This is a bug; report it with the job's id, {id}, and the log's entry for it."
    return ApiError(500, "internal_error", message)
