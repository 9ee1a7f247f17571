"""Server processes of the benchmark: started, pinned to a core, measured through /proc, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60.0
STOP_SECONDS = 10.0


class StartFailed(Exception):
    """A server did not come up; the message has the end of what it printed."""


def machine_cpu_seconds() -> float:
    """CPU time that all processes of the machine have had, and that its host took from it, since it started."""
    _, user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = (
        Path("/proc/stat").read_text().split()[:10]
    )
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / TICKS


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the measured service has, and which the stand-in engine and the client; None: not pinned."""

    service: frozenset[int] | None
    rest: frozenset[int] | None

    @property
    def harness_count(self) -> int:
        """How many cores the stand-in engine and the client can use at most: each is one thread."""
        return min(2, len(self.rest or os.sched_getaffinity(0)))

    @classmethod
    def split(cls) -> Cores:
        """The service alone on the first core that we may use, everything else on the others."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return cls(None, None)
        return cls(frozenset(cores[:1]), frozenset(cores[1:]))


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and the file that it prints to."""

    process: subprocess.Popen[bytes]
    output: IO[bytes] = field(repr=False)

    def tail(self, most: int = 2000) -> str:
        self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, self.output.tell() - most))
        return self.output.read().decode(errors="replace").strip()

    def cpu_seconds(self) -> float:
        """User and system time of the process and its descendants, those that have ended included."""
        return sum(sum(_stat(pid)[11:15]) for pid in self.family()) / TICKS

    def resident_bytes(self) -> int:
        """Resident memory of the process and its descendants now."""
        return sum(_status(pid, "VmRSS") for pid in self.family())

    def peak_bytes(self) -> int:
        """The most memory each of the process and its living descendants ever held, added up."""
        return sum(_status(pid, "VmHWM") for pid in self.family())

    def family(self) -> list[int]:
        """The ids of the process and its living descendants, itself first."""
        parents = {pid: parent for pid in _pids() if (parent := _parent(pid))}
        family = [self.process.pid]
        for pid in family:
            family.extend(child for child, parent in parents.items() if parent == pid)
        return family


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat after the state, from the parent's id on; zeros for a process that is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return [0] * 15
    return [0, *map(int, after_name.split()[1:15])]


def _parent(pid: int) -> int:
    return _stat(pid)[1]


def _status(pid: int, name: str) -> int:
    """A memory figure of /proc/PID/status in bytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), 0)


@contextmanager
def running(
    command: Sequence[str],
    url: str | None,
    *,
    environment: Mapping[str, str] | None = None,
    cores: frozenset[int] | None = None,
) -> Iterator[Server]:
    """Run `command` until the block ends, entering it once `url` answers, if one is given; raises StartFailed."""
    with TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(f"it cannot be started: {error}") from error
        server = Server(process, output)
        try:
            if cores is not None:
                os.sched_setaffinity(process.pid, cores)
            if url:
                _wait_until_ready(server, url)
            yield server
        finally:
            _stop(server)


def _wait_until_ready(server: Server, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StartFailed(f"it ended with {server.process.returncode} at its start: {server.tail()}")
        try:
            if httpx.get(url, timeout=2.0).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise StartFailed(f"{url} did not answer within {START_SECONDS:.0f} s: {server.tail()}")


def _stop(server: Server) -> None:
    """End the process, every process of its session, and descendants that made a session of their own."""
    family = server.family()
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.process.pid, how)
            server.process.wait(STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    for descendant in family[1:]:
        with suppress(ProcessLookupError):
            os.kill(descendant, signal.SIGKILL)
