"""Phases that show what is done, how far it is and how long it takes, and commands that run behind that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engines import guard

TICK = 0.2
PLAIN_TICK = 15.0
TAIL_LINES = 12
INDENT = " " * 6
ERASE = "\r\033[K"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

MENDS = (
    (r"No space left on device", "The disk is full. Make room on it, then run this again."),
    (
        r"ensurepip is not|No module named '?(venv|ensurepip)",
        "Install the package python3-venv: apt-get install python3-venv",
    ),
    (r"libnuma\.so", "Install the package libnuma1: apt-get install libnuma1"),
    (
        r"name resolution|NewConnectionError|Connection (refused|reset)|timed out|ProxyError|SSLError|IncompleteRead",
        "The package registry did not answer. Look to the network or pip's configuration, then run this again.",
    ),
    (
        r"No matching distribution|Could not find a version",
        "pip found no package that fits this machine. Look to its index (pip config list) and to the Python in use.",
    ),
    (
        r"MemoryError|Cannot allocate memory",
        "There is too little memory. End what else uses it, then run this again.",
    ),
)


class Failed(Exception):
    """A phase failed. The message says what, and the mend."""


class Phase:
    """One step of setting up: runs commands, and shows what they are at."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._used = shutil.disk_usage(".").used

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def run(self, command: Sequence[str | os.PathLike[str]], log: Path) -> None:
        """Run `command` with its output going to the end of `log`. Raises Failed.

        However this ends, by Ctrl-C or a crash too, no process of the command is left.
        """
        log.parent.mkdir(exist_ok=True)
        # Not to write bytecode would make every later start compile everything again.
        ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
        guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *map(str, command)]
        with log.open("ab") as output:
            start = output.tell()
            process = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
            try:
                self._watch(process, log)
            finally:
                print(ERASE if sys.stdout.isatty() else "", end="", flush=True)
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if process.returncode != 0:
            raise _failure(command, process.returncode, log, start)

    def _watch(self, process: subprocess.Popen[bytes], log: Path) -> None:
        live = sys.stdout.isatty()
        told = time.monotonic()
        while process.poll() is None:
            time.sleep(TICK)
            now = time.monotonic()
            if not live and now - told < PLAIN_TICK:
                continue
            told = now
            written = max(0, shutil.disk_usage(".").used - self._used) / 1e6
            line = f"{self.seconds:.0f} s, {written:.0f} MB written · {_last_line(log)}"
            if live:
                spin = SPINNER[int(now / TICK) % len(SPINNER)]
                width = shutil.get_terminal_size().columns - len(INDENT) - 3
                print(f"{ERASE}{INDENT}{spin} {line[:width]}", end="", flush=True)
            else:
                print(f"{INDENT}{line[:110]}", flush=True)


class Phases:
    """Numbers phases, `[2/5] …`, and says of each how long it took."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    def announce(self, title: str) -> None:
        """Begin the next phase."""
        self._number += 1
        print(f"[{self._number}/{self._total}] {title}", flush=True)

    def do(self, title: str, work: Callable[[Phase], str]) -> None:
        """Do one phase; what `work` returns is its outcome in words."""
        self.announce(title)
        phase = Phase()
        outcome = work(phase) or "done"
        print(INDENT + outcome + (f" ({phase.seconds:.0f} s)" if phase.seconds >= 1 else ""), flush=True)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 4000))
        lines = re.split(r"[\r\n]+", file.read().decode(errors="replace"))
    said = (line.strip() for line in reversed(lines) if not line.startswith(("WARNING", "DEPRECATION")))
    return next(filter(None, said), "")


def _failure(command: Sequence[str | os.PathLike[str]], status: int, log: Path, start: int) -> Failed:
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    mend = next((mend for pattern, mend in MENDS if re.search(pattern, text)), "Mend what the log says.")
    lines = "\n".join(f"  {line}" for line in re.split(r"[\r\n]+", text.strip())[-TAIL_LINES:])
    name = " ".join(Path(part).name for part in map(str, command[:4]))
    return Failed(f"`{name} …` ended with status {status}. {mend}\nThe last lines of {log}:\n{lines}")
