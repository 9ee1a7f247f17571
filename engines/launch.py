"""A vLLM of our own: the command that starts it and the supervisor that keeps it running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from engines import guard
from engines.children import end
from engines.devices import Device, detect_device
from engines.launch_log import LaunchFailed, failure, last_word

__all__ = ["LaunchFailed", "LaunchSpec", "Progress", "Supervisor", "command", "environment"]
__all__ += ["detect_device", "free_port"]

State = Literal["starting", "ready", "restarting", "stopped"]

LIBIOMP = Path("lib/libiomp5.so")
OURS = ("ALIQUOT_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_API_KEY")
"""Beginnings of the names of variables that are the service's own, or would close the engine to it."""
MAX_LOGPROBS = 20
POLL = 0.5
SILENCE = 60.0
"""Seconds without an answer from `/health` after which a running server counts as dead."""
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One vLLM server: what it serves, where, and with what.

    `model_path` is a folder or a hub's id, `python` the interpreter of vLLM's environment. `runner` is `generate`, or
    `pooling` for a reward model. `kv_cache_gib` (CPU only) is the KV cache's size in GiB, by default an eighth of the
    machine's memory, at least 1 and at most 8. `max_model_len` is the longest context in tokens (default: the model's).
    """

    model_path: str
    served_name: str
    port: int
    python: Path
    device: Device
    runner: Literal["generate", "pooling"] = "generate"
    max_model_len: int | None = None
    kv_cache_gib: int | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a launch is: the phase in words, seconds since it began, and the engine's last word."""

    phase: str
    seconds: float
    detail: str


def command(spec: LaunchSpec) -> list[str]:
    """The server's command line. It listens on 127.0.0.1 alone."""
    # By module: the `vllm` command of the CPU package does not start.
    line = [str(spec.python.absolute()), "-m", "vllm.entrypoints.openai.api_server"]
    line += ["--model", spec.model_path, "--served-model-name", spec.served_name]
    line += ["--host", "127.0.0.1", "--port", str(spec.port), "--runner", spec.runner]
    line += ["--max-logprobs", str(MAX_LOGPROBS), "--enable-prompt-tokens-details"]
    line += ["--disable-uvicorn-access-log"]
    if spec.max_model_len is not None:
        line += ["--max-model-len", str(spec.max_model_len)]
    if spec.device == "cpu":
        # 32 is the CPU's smallest block: with its default of 128 a short prompt would share nothing. Compiling makes
        # the start minutes longer and the steps hardly shorter; most CPUs have no units for 16-bit floats.
        line += ["--dtype", "float32", "--block-size", "32", "--enforce-eager"]
    else:
        line += ["--enable-prefix-caching"]
    return [*line, *spec.extra]


def environment(spec: LaunchSpec, base: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: `base` without what is the service's alone; a setting already in `base` stays."""
    kept = {name: value for name, value in base.items() if not name.startswith(OURS)}
    wanted = {"PYTHONSAFEPATH": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if Path(spec.model_path).is_dir():
        wanted |= {"HF_HUB_OFFLINE": "1"}
    if spec.device == "cpu":
        wanted |= {
            # The default binds one core and leaves one idle.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
            "VLLM_CPU_KVCACHE_SPACE": str(spec.kv_cache_gib or _modest_kv_cache()),
            # Log-probabilities run a compiled helper even in eager mode: it stalls the engine for seconds at each new
            # batch size, and kills it where there is no C++ compiler. Uncompiled it costs nothing that can be measured.
            "TORCHDYNAMO_DISABLE": "1",
        }
        # Intel's OpenMP halves the time of a step; two OpenMP libraries in one process would be refused.
        openmp = spec.python.absolute().parent.parent / LIBIOMP
        preloaded = base.get("LD_PRELOAD", "")
        if openmp.exists() and "omp" not in preloaded:
            kept["LD_PRELOAD"] = f"{openmp}:{preloaded}".rstrip(":")
    return wanted | kept


def _modest_kv_cache() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(8, memory // 8 // 2**30))


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Supervisor:
    """Starts one vLLM server and keeps it running: where it dies or stops answering, it is started again.

    `progress` is told of every step. The server, and everything it starts, ends with `stop`, and with this process
    however that ends. Its output goes to `log_path`.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        *,
        log_path: Path,
        progress: Callable[[Progress], None] | None = None,
        start_timeout: float = 900.0,
    ) -> None:
        self.state: State = "stopped"
        self.restarts = 0
        self._spec = spec
        self._log_path = log_path
        self._progress = progress
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._launched = 0.0
        self._log_start = 0

    @property
    def url(self) -> str:
        """Where the server answers; the same after a restart."""
        return f"http://127.0.0.1:{self._spec.port}"

    async def start(self) -> None:
        """Return once the server has answered a first request. Raises LaunchFailed, with nothing left running."""
        self.state = "starting"
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_path.unlink(missing_ok=True)
        try:
            await self._launch("starting")
        except BaseException:
            self.state = "stopped"
            raise
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the server and all its processes, and return when they are gone. Does nothing the second time."""
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await end(self._process)
        self.state = "stopped"

    async def _launch(self, phase: str) -> None:
        self._launched = time.monotonic()
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._spawn()
                await self._telling(f"{phase} vLLM with {self._spec.served_name}", self._healthy())
                await self._telling(f"warming up {self._spec.served_name}", self._warm_up())
        except TimeoutError as error:
            await end(self._process)
            raise self._failed(f"vLLM was not ready after {self._start_timeout:.0f} s.") from error
        except BaseException:
            await end(self._process)
            raise
        self.state = "ready"
        self._tell(f"{self._spec.served_name} is ready")

    async def _spawn(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._spec.port))
            except OSError as error:
                raise LaunchFailed(f"Port {self._spec.port} is taken. End what listens there.") from error
        guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *command(self._spec)]
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *guarded,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self._spec, os.environ),
                start_new_session=True,
            )

    async def _healthy(self) -> None:
        while await self._health() != 200:
            await asyncio.sleep(POLL)

    async def _warm_up(self) -> None:
        """One small request: the first after a start reads much from the disk."""
        route, body = "/v1/completions", {"prompt": "Hello", "max_tokens": 2, "logprobs": 1}
        if self._spec.runner == "pooling":
            route, body = "/pooling", {"input": "Hello"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + route, json={"model": self._spec.served_name, **body}) as answer,
        ):
            if answer.status != 200:
                raise self._failed(f"vLLM's first answer was {answer.status}: {await answer.text()}")

    async def _telling(self, phase: str, step: Awaitable[None]) -> None:
        """Await `step`, telling of it meanwhile. Raises LaunchFailed where the server ends before."""
        assert self._process is not None
        waiting = asyncio.ensure_future(step)
        ended = asyncio.ensure_future(self._process.wait())
        try:
            while not waiting.done() and not ended.done():
                self._tell(phase)
                await asyncio.wait({waiting, ended}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                status = ended.result()
                raise self._failed(f"vLLM ended before it was ready (exit status {status}).", status)
            waiting.result()
        except aiohttp.ClientError as error:
            raise self._failed("vLLM closed the connection of its first request.") from error
        finally:
            waiting.cancel()
            ended.cancel()
            await asyncio.gather(waiting, ended, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self._lost()
            self.state = "restarting"
            attempt = 0
            while self.state == "restarting":
                await end(self._process)
                await asyncio.sleep(min(LONGEST_PAUSE, 2.0**attempt))
                self.restarts += 1
                attempt += 1
                try:
                    await self._launch("restarting")
                except (LaunchFailed, OSError) as error:
                    self._tell(f"restarting {self._spec.served_name} failed: {error}")

    async def _lost(self) -> None:
        """Return when the server has ended, says that its engine is dead, or has been silent for too long."""
        assert self._process is not None
        heard = time.monotonic()
        while self._process.returncode is None and time.monotonic() - heard < SILENCE:
            status = await self._health()
            if status == 503:
                return
            if status == 200:
                heard = time.monotonic()
            await asyncio.sleep(POLL)

    async def _health(self) -> int | None:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as http,
                http.get(f"{self.url}/health") as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _failed(self, what: str, status: int | None = None) -> LaunchFailed:
        return failure(what, self._log_path, self._log_start, status)

    def _tell(self, phase: str) -> None:
        if self._progress:
            seconds = time.monotonic() - self._launched
            self._progress(Progress(phase, seconds, last_word(self._log_path, self._log_start)))
