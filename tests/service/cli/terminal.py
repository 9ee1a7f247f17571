"""The command line as a user has it: in a terminal of 80 columns, against a service of the test's."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from service.cli import app

WIDTH = 80


async def aliquot(*words: str, url: str = "http://127.0.0.1:9", stdin: Any = None) -> Result:
    """What `aliquot WORDS` prints and its exit status, run in a thread beside the service."""
    environment = {"ALIQUOT_URL": url, "COLUMNS": str(WIDTH)}
    return await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin, env=environment)


@asynccontextmanager
async def started(
    *words: str,
    url: str = "http://127.0.0.1:9",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncGenerator[Process]:
    """`aliquot WORDS` as a process of its own, with `env` beside; killed at the end, should it still run."""
    program = Path(sys.executable).with_name("aliquot")
    environment = {"ALIQUOT_URL": url, "COLUMNS": str(WIDTH), "PATH": "/usr/bin:/bin", **(env or {})}
    process = await asyncio.create_subprocess_exec(
        program, *words, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, cwd=cwd, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
