"""Runs one command and leaves nothing of it behind: `python -I guard.py PARENT COMMAND…`.

vLLM's API server starts further processes that outlive it when it is killed, holding gigabytes. So it runs under this
guard, which leads a process group of its own. When the command ends, or the guard is told to end, or its parent dies
in any way, the guard ends every process of the group, gently first. Linux only (`/proc`, `prctl`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

GRACE = 5.0
"""Seconds the command has to end by itself before it is killed."""

_PR_SET_PDEATHSIG = 1


def members(group: int) -> set[int]:
    """The live processes of a process group; zombies are not counted."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # After the name in parentheses, which may hold anything: state, parent, process group.
            state, _, owner = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(owner) == group and state not in "ZX":
            found.add(int(entry.name))
    return found


def guard(parent: int, command: list[str]) -> int:
    """Run `command` and return its exit status; `parent` is the process whose death ends it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    _end_with_parent()
    if os.getppid() != parent:
        return 1
    try:
        # The guard has one thread, so running Python between fork and exec is safe here.
        return subprocess.Popen(command, preexec_fn=_end_with_parent).wait()
    finally:
        _sweep()


def _leave(number: int, _: FrameType | None) -> None:
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _sweep() -> None:
    own = os.getpid()
    number, deadline = signal.SIGTERM, time.monotonic() + GRACE
    told: set[int] = set()
    while left := members(os.getpgid(0)) - {own}:
        if time.monotonic() > deadline and number != signal.SIGKILL:
            number, told = signal.SIGKILL, set()
        for process in left - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        told |= left
        time.sleep(0.05)


if __name__ == "__main__":
    status = guard(int(sys.argv[1]), sys.argv[2:])
    sys.exit(status if status >= 0 else 128 - status)
