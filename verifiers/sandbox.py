"""Runs Python programs that nobody vouches for, each in a bubblewrap of its own."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from verifiers.bubblewrap import (
    ENVIRONMENT,
    Limits,
    SandboxUnavailable,
    arguments,
    bubblewrap,
    map_users,
    why_not,
)
from verifiers.sandbox_filter import seccomp_filter
from verifiers.sandbox_process import STARTED

__all__ = ["Finished", "Limits", "Sandbox", "SandboxUnavailable"]

_WATCH_SECONDS: Final = 0.05
_START_SECONDS: Final = 5.0
_TOO_LITTLE: Final = (
    "Programs cannot be isolated now: this machine has too few processes, files or memory left."
)

Ended = Literal["itself", "time", "output", "files"]
"""How a program ended: by itself (or by a limit that the kernel enforces), or ended from outside, and over what."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program wrote to standard output, how it ended, and its exit code (128 + n where signal n ended it)."""

    output: bytes
    ended: Ended
    code: int


class Sandbox:
    """Runs up to `size` programs at once (default: one per core), each apart from everything and within `limits`.

    A program sees Python's standard library, read-only, /dev/null and /dev/urandom, and may write to /tmp alone, which
    is memory of its own. It has no network, no /proc, no other processes, no capabilities, nobody's user id, and user,
    mount, pid, network, IPC and UTS namespaces of its own; a seccomp filter keeps it from making processes. When a run
    is over, however it ended or was cancelled, nothing of it is left. Root and ordinary users may run it, on Linux.

    Not contained: flaws of the kernel, side channels, and kernel memory that small objects (file locks, say) take
    within the CPU seconds allowed.
    """

    def __init__(self, size: int | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._free = asyncio.Semaphore(size or os.cpu_count() or 1)

    async def run(self, program: str, data: bytes = b"") -> Finished:
        """Runs `program` as `__main__` with `data` on its standard input; its standard error is dropped.

        Raises SandboxUnavailable where programs cannot be isolated; nothing runs unprotected.
        """
        bwrap = bubblewrap()
        async with self._free:
            box = _Box(bwrap, self.limits)
            try:
                output, ended = await box.run(program.encode(errors="replace"), data)
            finally:
                await asyncio.shield(asyncio.ensure_future(box.end()))
        return Finished(output, ended, box.process.returncode)


class _Box:
    """One bubblewrap and its descriptors. `run` once, then `end`."""

    def __init__(self, bwrap: str, limits: Limits) -> None:
        self._limits = limits
        self._fds: list[int] = []
        self._pid = 0
        self._init = -1
        self._told = b""
        try:
            self._stdin = self._keep(os.memfd_create("program", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            self._spawn(bwrap)
        except OSError as error:
            self._close()
            raise SandboxUnavailable(_TOO_LITTLE) from error

    async def run(self, program: bytes, data: bytes) -> tuple[bytes, Ended]:
        """What the program wrote, and how it ended."""
        output = bytearray()
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                await self._meet()
                self._begin(len(program).to_bytes(8, "big") + program + data)
                ended = await self._collect(output)
        except TimeoutError:
            ended = "time"
        except OSError as error:
            raise SandboxUnavailable(_TOO_LITTLE) from error
        if not output.startswith(STARTED):
            raise SandboxUnavailable(_TOO_LITTLE if ended == "time" else why_not(self._errors()))
        return bytes(output[len(STARTED) :]), ended

    async def end(self) -> None:
        """Kills whatever is inside and waits until it is gone."""
        try:
            # A bubblewrap killed before it has told of its child leaves that waiting for it for ever.
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_START_SECONDS):
                    await self._meet()
            if self._init >= 0:
                # The first process of the pid namespace is gone only after all others in it are.
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._init, signal.SIGKILL)
                await _readable(self._init)
                _bury(self._init)
            elif self.process.poll() is None:
                os.kill(self._pid or self.process.pid, signal.SIGKILL)
            self._drop(self._go)  # bubblewrap may still wait for it
            if self.process.poll() is None:
                await asyncio.to_thread(self.process.wait)
        finally:
            self._close()

    def _spawn(self, bwrap: str) -> None:
        self._output, output = self._pipe()
        self._stderr, stderr = self._pipe()
        self._info, info = self._pipe()
        go, self._go = self._pipe()
        seccomp = self._keep(os.memfd_create("filter"))
        os.pwrite(seccomp, seccomp_filter(), 0)
        self.process = subprocess.Popen(
            [bwrap, *arguments(self._limits, info=info, go=go, seccomp=seccomp)],
            stdin=self._stdin,
            stdout=output,
            stderr=stderr,
            env=ENVIRONMENT,
            pass_fds=(info, go, seccomp),
            start_new_session=True,
        )
        for ours in (output, stderr, info, go, seccomp):
            self._drop(ours)

    async def _meet(self) -> None:
        """Learns who is the first process inside; it starts nothing yet."""
        while not self._pid:
            await _readable(self._info)
            more = os.read(self._info, 4096)
            if not more:
                return
            self._told += more
            if b"}" in self._told:
                self._pid = json.loads(self._told)["child-pid"]
        if self._init < 0:
            with suppress(ProcessLookupError):
                self._init = self._keep(os.pidfd_open(self._pid))

    def _begin(self, content: bytes) -> None:
        """Lets the program in. Until then standard input is empty, so that what gets loose has nothing to run."""
        with suppress(ProcessLookupError, BrokenPipeError):
            if self._pid and os.geteuid() == 0:
                map_users(self._pid)
            os.pwrite(self._stdin, content, 0)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
            fcntl.fcntl(self._stdin, fcntl.F_ADD_SEALS, seals)
            os.write(self._go, b"\0")

    async def _collect(self, output: bytearray) -> Ended:
        """Everything that comes out, until there is no more or a limit is met."""
        most = self._limits.output + len(STARTED)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await _readable(self._output)
                more = os.read(self._output, 65_536)
                output += more[: most - len(output)]
                if not more:
                    return "itself"
                if len(output) == most:
                    return "output"
            if output and self._files() > self._limits.scratch_files:
                return "files"

    def _files(self) -> int:
        """Files in the scratch folder: each is memory of the kernel that its size says nothing about.

        Before the program has started, what is seen there may be another folder.
        """
        try:
            scratch = os.statvfs(f"/proc/{self._pid}/root/tmp")
        except OSError:  # it has ended
            return 0
        return scratch.f_files - scratch.f_ffree

    def _errors(self) -> str:
        os.set_blocking(self._stderr, False)
        with suppress(BlockingIOError):
            return os.read(self._stderr, 4096).decode(errors="replace")
        return ""

    def _pipe(self) -> tuple[int, int]:
        read, write = os.pipe()
        return self._keep(read), self._keep(write)

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _drop(self, fd: int) -> None:
        self._fds.remove(fd)
        os.close(fd)

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def set_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, set_ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _bury(orphan: int) -> None:
    """Orphans of a container go to its first process, which this may be."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, orphan, os.WEXITED | os.WNOHANG)
