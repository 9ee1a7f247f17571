"""Worker processes for parsing that may hang, blow up or crash: others' mathematics, patterns and schemas."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from verifiers.worker_process import HEADER

T = TypeVar("T")

MEBIBYTE = 1 << 20
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG")
_LARGEST_REPLY = 64 * MEBIBYTE
_START_SECONDS = 60.0


class WorkerFailed(Exception):
    """A call in a worker gave no result: out of time, out of memory, crashed, or raised."""


class Workers:
    """Up to `size` processes that run functions, each call with a time and a memory limit.

    Processes start when first needed, import `preload`, and are replaced when a call ends them. They ignore
    Ctrl-C and never outlive this process. A call may take `memory` bytes beyond what the imports took.
    """

    def __init__(
        self,
        size: int = 2,
        *,
        memory: int = 512 * MEBIBYTE,
        preload: Sequence[str] = ("math_verify", "re2", "jsonschema_rs"),
    ) -> None:
        self._size = size
        self._memory = memory
        self._preload = tuple(preload)
        self._free = asyncio.Semaphore(size)
        self._idle: list[Process] = []
        self._running: set[Process] = set()
        self._closed = False

    async def run(self, function: Callable[..., T], *arguments: Any, timeout: float) -> T:
        """`function(*arguments)`, run in a worker; waiting for a free one does not count against `timeout`.

        `function` is named by its module and name; arguments and result are JSON values. Raises WorkerFailed
        where there is no result within `timeout` seconds. Cancelling the call kills its worker.
        """
        call = {"module": function.__module__, "function": function.__qualname__, "arguments": arguments}
        async with self._free:
            worker = await self._take()
            reply: Mapping[str, Any] = {}
            try:
                async with asyncio.timeout(timeout):
                    await _send(worker, call)
                    reply = await _receive(worker)
            except TimeoutError as error:
                raise WorkerFailed(f"There was no result within {timeout:g} s.") from error
            except (EOFError, OSError, ValueError) as error:
                raise WorkerFailed("The worker process ended.") from error
            finally:
                healthy = bool(reply) and reply.get("error") != MemoryError.__name__
                await self._keep_or_end(worker, keep=healthy)
        if "result" not in reply:
            raise WorkerFailed(f"The call raised {reply.get('error')}.")
        return cast(T, reply["result"])

    async def warm(self) -> None:
        """Start every worker now, so that the first call finds its imports done. Raises WorkerFailed."""
        self._idle += await asyncio.gather(*(self._start() for _ in range(self._size - len(self._running))))

    async def close(self) -> None:
        """End every worker; calls under way fail."""
        self._closed = True
        await asyncio.gather(*map(self._end, tuple(self._running)))

    async def _take(self) -> Process:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
            await self._end(worker)
        return await self._start()

    async def _start(self) -> Process:
        if self._closed:
            raise WorkerFailed("The worker processes are closed.")
        started = False
        worker = await self._spawn()
        self._running.add(worker)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _receive(worker)
            started = True
        except (TimeoutError, EOFError, OSError) as error:
            raise WorkerFailed("A worker process did not start.") from error
        finally:
            if not started:
                await self._end(worker)
        return worker

    async def _spawn(self) -> Process:
        arguments = (str(self._memory), str(os.getpid()), *self._preload)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "verifiers.worker_process", *arguments),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFailed("A worker process could not be started.") from error

    async def _keep_or_end(self, worker: Process, *, keep: bool) -> None:
        if keep and not self._closed:
            self._idle.append(worker)
        else:
            await self._end(worker)

    async def _end(self, worker: Process) -> None:
        self._running.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        with suppress(ProcessLookupError):
            worker.kill()
        if worker.stdin:
            worker.stdin.close()
        await worker.wait()


async def _send(worker: Process, call: Mapping[str, Any]) -> None:
    assert worker.stdin is not None
    data = json.dumps(call).encode()
    worker.stdin.write(HEADER.pack(len(data)) + data)
    await worker.stdin.drain()


async def _receive(worker: Process) -> Mapping[str, Any]:
    assert worker.stdout is not None
    (length,) = HEADER.unpack(await worker.stdout.readexactly(HEADER.size))
    if length > _LARGEST_REPLY:
        raise EOFError("The reply is too long.")
    return cast(Mapping[str, Any], json.loads(await worker.stdout.readexactly(length)))
