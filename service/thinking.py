"""Threads for what takes long to work out, apart from those that files and the store are waited for in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar, TypeVarTuple

from service.errors import ApiError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREADS: Final = 2
MOST_WAITING: Final = 32
"""Jobs beside those that are worked on; more are refused."""
RETRY_AFTER: Final = 1
MOMENT: Final = 0.5
"""Seconds that `close` waits for what is worked on."""


class Thinking:
    """Two threads, which take jobs in turn. A job whose caller is cancelled is not begun any more.

    The threads are daemons: an interpreter that ends would wait for those of concurrent.futures to the end of their
    jobs, and nothing is lost with one that is cut.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._open: set[Future[Any]] = set()
        self._threads: list[Thread] = []
        self._closed = False

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What the function returns, or raises. Raises ApiError 503 where more than `MOST_WAITING` jobs wait."""
        if len(self._open) >= THREADS + MOST_WAITING:
            raise _too_busy()
        return await self.carry_on(function, *args)

    async def carry_on(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The same as a part of what was begun: refused only once all is closed."""
        if self._closed:
            raise _too_busy()
        while len(self._threads) < THREADS:
            thread = Thread(target=self._work, name=f"thinking-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        job: Future[T] = Future()
        self._open.add(job)
        job.add_done_callback(self._open.discard)
        self._jobs.put((job, partial(copy_context().run, function, *args)))
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Begin nothing more, and wait a moment for what is worked on."""
        self._closed = True
        for job in list(self._open):
            job.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + MOMENT
        while self._open and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _work(self) -> None:
        while taken := self._jobs.get():
            job, call = taken
            if job.set_running_or_notify_cancel():
                _settle(job, call)
            del taken, job, call  # or the last job's data would be held until the next one


def _settle(job: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:
        job.set_exception(error)
    else:
        job.set_result(result)


def _too_busy() -> ApiError:
    message = f"{MOST_WAITING} plans and profiles wait to be worked out already. Try again in a second."
    return ApiError(503, "too_busy", message, retry_after=RETRY_AFTER)
