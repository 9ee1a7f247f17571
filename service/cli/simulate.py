"""`aliquot simulate`: a simulated model and its rewards behind vLLM's protocol, to try the service without a model."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
import uvicorn
import uvloop
from rich.text import Text

from engines.simulated.engine import MODEL, SimulatedEngine
from engines.simulated.pooling import EMBEDDING, HACKABLE, OUTCOME, PROCESS
from engines.simulated.problems import RewardSettings, SimulatedSettings
from engines.simulated.server import create_simulated_app
from engines.simulated.world import SimulatedWorld
from service.cli.client import console, fail, plain

GRACE_SECONDS: Final = 1
_WORLD, _REWARDS = "What the problems are like", "How good the rewards are"
_EXAMPLE: Final = 17
_DEFAULTS: Final = SimulatedSettings()
_STEPS: Final = "{}-{}".format(*_DEFAULTS.steps)


def _option(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
SecondsPerStep = Annotated[
    float, typer.Option(help="What a decode step takes: a token of each sample.", min=0, max=60)
]
Seed = Annotated[int, _option(_WORLD, "Another seed is another world.")]
Accuracy = Annotated[float, _option(_WORLD, "Mean share of samples that are right, over problems.")]
Steps = Annotated[str, _option(_WORLD, "Steps of a problem: a number, or a range.", metavar="FROM-TO")]
StepTokens = Annotated[int, _option(_WORLD, "Mean length of a step.")]
Auc = Annotated[float, _option(_REWARDS, "Chance that a right path scores above a wrong one.")]
Persistence = Annotated[float, _option(_REWARDS, "Correlation of a path's errors from step to step.")]
Overconfidence = Annotated[float, _option(_REWARDS, "How much larger a path's errors are at first.")]


def simulate(
    port: Port = 8100,
    host: Host = "127.0.0.1",
    seconds_per_step: SecondsPerStep = 0.0,
    seed: Seed = 0,
    accuracy: Accuracy = _DEFAULTS.accuracy,
    steps: Steps = _STEPS,
    step_tokens: StepTokens = _DEFAULTS.step_tokens,
    auc: Auc = _DEFAULTS.process.auc,
    persistence: Persistence = _DEFAULTS.process.persistence,
    overconfidence: Overconfidence = _DEFAULTS.process.overconfidence,
) -> None:
    """Serve a simulated model, its process and outcome rewards and embeddings, as vLLM servers would."""
    try:
        settings = SimulatedSettings(
            accuracy=accuracy,
            steps=_range(steps),
            step_tokens=step_tokens,
            process=RewardSettings(auc=auc, persistence=persistence, overconfidence=overconfidence),
            outcome=RewardSettings(auc=auc),
        )
    except ValueError as error:
        raise fail(str(error)) from error
    listener = _listen(host, port)
    world = SimulatedWorld(settings, seed)
    engine = SimulatedEngine(world, seconds_per_step=seconds_per_step)
    config = uvicorn.Config(
        create_simulated_app(engine),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        lifespan="off",
    )
    with listener:
        uvloop.run(_Server(config, world).serve(sockets=[listener]))
    console.print("Stopped.")


def _range(steps: str) -> tuple[int, int]:
    read = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", steps)
    if read is None:
        raise ValueError(f"steps is {steps}; give a number or a range, as in 8 or 5-11.")
    return int(read[1]), int(read[2] or read[1])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        why = error.strerror or str(error)
        raise fail(
            f"{host}:{port} cannot be listened on: {why}. Choose another with --host or --port."
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn, that says how to use the world once it listens."""

    def __init__(self, config: uvicorn.Config, world: SimulatedWorld) -> None:
        super().__init__(config)
        self._world = world

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Ends at a signal, and without raising it once more as uvicorn does."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            _welcome(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", self._world)


def _welcome(url: str, world: SimulatedWorld) -> None:
    ready = Text.assemble(("The simulated world is ready", "bold green"), f" at {url}.")
    ask = (
        f'aliquot ask "{world.question(_EXAMPLE)}" --samples 16 --strategy particle_filtering --verifier prm'
    )
    for line in (
        ready.append(" Put this into world.yaml:\n"),
        plain(configuration(url)),
        Text("Then, in two more terminals:\n"),
        plain(f"aliquot serve --config world.yaml\n{ask}\n"),
        Text(f"The right answer is {world.problem(_EXAMPLE).answer}. Ctrl-C stops it."),
    ):
        console.print(line, soft_wrap=True)


def configuration(url: str) -> str:
    """The YAML with which `aliquot serve` uses a world at `url`."""
    return f"""\
models:
  - {{name: {MODEL}, urls: ["{url}"]}}
verifiers:
  - {{name: prm, kind: process_reward, url: "{url}", model: {PROCESS}, separator: "\\n\\n"}}
  - {{name: orm, kind: outcome_reward, url: "{url}", model: {OUTCOME}}}
  - {{name: orm-hackable, kind: outcome_reward, url: "{url}", model: {HACKABLE}}}
  - {{name: steps, kind: embedding, url: "{url}", model: {EMBEDDING}}}
"""
