"""`aliquot serve`: start the engines and the service, and say how to use them."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.text import Text

from engines.launch import LaunchFailed, Progress
from service.cli.client import console, errors, plain
from service.logs import set_up
from service.openapi import example
from service.server import Server
from service.settings import BUNDLED_PATH, Settings, SettingsError, WorldConfig, load_settings, load_world
from service.tenants.administration import about_keys
from service.world import World


def serve(
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of models, verifiers, defaults and limits.", envvar="ALIQUOT_CONFIG"),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.", envvar="ALIQUOT_HOST")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 takes a free one. Default: 8080.", envvar="ALIQUOT_PORT"),
    ] = None,
) -> None:
    """Serve; without --config, on a vLLM of our own with the bundled small model."""
    try:
        settings = load_settings(config=config, host=host, port=port)
        world_config = load_world(settings.config)
        _check_bundled(world_config)
        set_up(settings)
        with suppress(asyncio.CancelledError, KeyboardInterrupt):
            uvloop.run(_serve(settings, world_config))
    except (SettingsError, LaunchFailed, OSError) as error:
        errors.print(Text("Aliquot did not start. ", "bold red") + plain(str(error)), soft_wrap=True)
        raise typer.Exit(1) from error
    console.print("Stopped.")


def _check_bundled(config: WorldConfig) -> None:
    for model in config.models:
        if not model.urls and model.path == str(BUNDLED_PATH) and not BUNDLED_PATH.is_dir():
            raise SettingsError(f"{BUNDLED_PATH} is not there yet. `make serve` prepares it.")


async def _serve(settings: Settings, config: WorldConfig) -> None:
    listener = _listen(settings)
    reporter = _Reporter()
    ending = _Ending(settings)
    try:
        async with World(settings, config, progress=reporter) as world:
            await world.workers.warm()
            reporter.close()
            _settle_memory()
            keys = await about_keys(world.tenants)
            welcome = partial(_welcome, config.models[0].name, settings.keys_required, keys)
            ending.server = Server(world, settings, welcome)
            await ending.server.serve(sockets=[listener])
    finally:
        reporter.close()
        listener.close()


def _settle_memory() -> None:
    """Leave what the start made out of garbage collection, and collect less often: a tenth of a request's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


class _Ending:
    """Ctrl-C and SIGTERM: a start is broken off; a running service drains, and at the second time ends at once."""

    def __init__(self, settings: Settings) -> None:
        self.server: Server | None = None
        self._settings = settings
        self._main = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._end)

    def _end(self) -> None:
        if self.server and self.server.started:
            if not self.server.stopping:
                console.print(_farewell(self._settings))
            self.server.stop()
        elif self._main:
            self._main.cancel()


def _farewell(settings: Settings) -> str:
    drain = f"new requests are served for {settings.serves_on:g} s more; " if settings.serves_on else ""
    grace = f"requests under way have {settings.grace_seconds:g} s to finish"
    return f"Stopping: {drain}{grace}. A second signal ends it at once."


def _listen(settings: Settings) -> socket.socket:
    """The socket, opened before anything slow is started: a port in use is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        why = error.strerror or str(error)
        raise OSError(
            f"{where} cannot be listened on: {why}. Choose another with --host or --port."
        ) from error
    return listener


def _reachable(host: str, port: int) -> str:
    """The address of a service that listens on `host`, as seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(model: str, keys_required: bool, keys: str, host: str, port: int) -> None:
    """Say how to ask; `keys` is what there is to say about the first of them."""
    url = _reachable(host, port)
    body = json.dumps(example(model))
    key = ' -H "Authorization: Bearer $ALIQUOT_API_KEY"' if keys_required else ""
    curl = f"curl -s {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'"
    ready = Text.assemble(("\nAliquot is ready", "bold green"), f" at {url} (API: {url}/docs). Try:\n")
    console.print(ready, soft_wrap=True)
    console.print(plain(curl), soft_wrap=True)
    if keys:
        console.print(plain(f"\n{keys}", "yellow"), soft_wrap=True)
    console.print("\nCtrl-C stops it.")


class _Reporter:
    """Shows a launch: a live line on a terminal, a line for each phase elsewhere."""

    def __init__(self) -> None:
        self._status = console.status("") if console.is_terminal else None
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        line = f"{progress.phase} ({progress.seconds:.0f} s)"
        if self._status:
            said = plain(line).append(f"  {plain(progress.detail)}", "dim")
            said.truncate(console.width - 4, overflow="ellipsis")
            self._status.start()
            self._status.update(said)
        if progress.phase != self._phase:
            console.print(plain(line))
        self._phase = progress.phase

    def close(self) -> None:
        """End the live line; what is told later, of an engine's restart, gets a line for each phase."""
        if self._status:
            self._status.stop()
            self._status = None
