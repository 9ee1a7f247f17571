"""Servers of the cluster as processes: each on a port of its own, killed, paused and started again by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from engines import guard
from engines.launch import free_port
from tests.reference import ROOT

START_SECONDS = 60.0


class Server:
    """A guarded process that listens on `port`; it ends with the tests, however they end."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.port = port
        self.log = log
        self._command = list(command)
        self._env = {**os.environ, **(env or {})}
        self._guard: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; `ready` says when it answers."""
        guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *self._command]
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                guarded, stdout=log, stderr=log, env=self._env, cwd=ROOT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process of the server itself."""
        assert self._guard
        (child,) = Path(f"/proc/{self._guard.pid}/task/{self._guard.pid}/children").read_text().split()
        return int(child)

    @property
    def alive(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it and its children have gone."""
        assert self._guard
        self._paused = False
        self.signal(signal.SIGKILL)
        self._guard.wait(timeout=20)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let it go on; does nothing where it was not paused."""
        if self._paused:
            self.signal(signal.SIGCONT)
            self._paused = False

    def wait(self, seconds: float = 60.0) -> int:
        """The exit status of its guard, once it has ended."""
        assert self._guard
        return self._guard.wait(timeout=seconds)

    def stop(self) -> None:
        if self._guard and self._guard.poll() is None:
            self.resume()
            self._guard.terminate()
            self._guard.wait(timeout=30)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class HttpServer(Server):
    """A server that answers 200 at `path` when it is ready."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, path: str, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(command, port, log, env)
        self._path = path

    def answers(self) -> bool:
        try:
            return httpx.get(self.url + self._path, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def ready(self) -> None:
        eventually(lambda: self.answers() or not self.alive, START_SECONDS)
        assert self.alive, f"{self._command} ended:\n{self.said()[-3000:]}"


class Redis(Server):
    """A real Redis server that appends to a file, as docs/deployment.md has it."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", *options]
        super().__init__(command, port, folder / "redis.log")

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *words: str) -> str:
        """What redis-cli prints."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()

    def ready(self) -> None:
        eventually(lambda: self.ask("PING") == "PONG" or not self.alive, START_SECONDS)
        assert self.alive, self.said()[-2000:]


class Engine(HttpServer):
    """A simulated vLLM with faults; see tests/cluster/engine.py."""

    def __init__(self, folder: Path, name: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.cluster.engine", str(port)]
        super().__init__(command, port, folder / f"{name}.log", "/seen")

    def fault(self, kind: str = "none", *, seconds: float = 0.0, slots: int = 1_000_000) -> None:
        body = {"kind": kind, "seconds": seconds, "slots": slots}
        httpx.put(f"{self.url}/fault", json=body, timeout=10).raise_for_status()

    def seen(self) -> dict[str, int]:
        seen: dict[str, int] = httpx.get(f"{self.url}/seen", timeout=10).json()
        return seen


def eventually(condition, seconds: float = 20.0, pause: float = 0.05) -> None:
    """Return once `condition()` holds; AssertionError after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(pause)
