"""Child processes that a guard stands before."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process

from engines import guard


async def end(process: Process | None) -> None:
    """End a guarded child and all that it started, in peace where it takes no longer than its guard gives it."""
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), guard.GRACE + 5.0)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
