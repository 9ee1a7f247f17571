"""Real vLLM servers for a session of tests: each is started once, when the first test asks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.devices import detect_device
from engines.launch import LaunchSpec, Supervisor, free_port
from engines.transport import Transport
from tests.integration.models import CONTEXT, Kind, build

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-engine" / "bin" / "python"
BUNDLED = ROOT / "models" / "smollm2-135m"


@dataclass(frozen=True)
class Server:
    """A running vLLM: its address, the name of its model, and who supervises it."""

    url: str
    model: str
    supervisor: Supervisor


def tiny_model(kind: Kind) -> Path:
    """The folder of a small random-weight model, built once and kept."""
    folder = ROOT / ".cache" / f"tiny-{kind}"
    folder.parent.mkdir(exist_ok=True)
    return build(kind, folder, tokenizer=BUNDLED, python=PYTHON)


@contextmanager
def running(
    model: Path,
    logs: Path,
    *,
    runner: Literal["generate", "pooling"] = "generate",
    context: int = CONTEXT,
    extra: tuple[str, ...] = (),
) -> Generator[Server]:
    """A supervised vLLM that serves the model in this folder, on an event loop of its own in a thread.

    `extra` are more options of vLLM's command line.
    """
    spec = LaunchSpec(
        model_path=str(model),
        served_name=model.name,
        port=free_port(),
        python=PYTHON,
        device=detect_device(),
        runner=runner,
        max_model_len=context,
        kv_cache_gib=1,
        extra=extra,
    )
    supervisor = Supervisor(spec, log_path=logs / f"{model.name}-{spec.port}.log")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait_for(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        wait_for(supervisor.start())
        yield Server(supervisor.url, model.name, supervisor)
    finally:
        wait_for(supervisor.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def gauge(url: str, name: str) -> float:
    """What a vLLM's /metrics says of one gauge or counter, summed over its labels."""
    http = Transport(url)
    try:
        lines = (await http.get("/metrics")).decode().splitlines()
    finally:
        await http.close()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))
