"""What vLLM's log says: how far a start is, and why one failed."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 16_384
TAIL_LINES = 15

MEANINGFUL = re.compile(
    r"^\(\w+ pid=\d+\) [A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] (?P<said>.*\w.*)$|^(?P<bar>Loading .*)$"
)

MENDS = (
    (
        r"No module named '?vllm|No such file or directory: '[^']*python",
        "vLLM is not installed there. `make serve` installs it.",
    ),
    (r"libnuma\.so", "A system library is missing. Install it: apt-get install libnuma1"),
    (r"No space left on device", "The disk is full. Make room on it."),
    (r"address already in use", "Another program took the port meanwhile. Start again."),
    (
        r"to serve at least one request|max seq len|maximum (model|sequence) length",
        "The context does not fit the KV cache. Set a smaller max_model_len.",
    ),
    (
        r"out of memory|Free memory on device|Cannot allocate memory|DefaultCPUAllocator",
        "The model does not fit into the memory that is free. End what else uses it, or take a smaller model.",
    ),
    (
        r"valid model identifier|Repo id must be|offline mode|does not appear to have a file|Invalid repository",
        "The model is not there. Give a folder that holds it, or a hub's id and a network.",
    ),
)
KILLED = 137
"""The exit status of a process that was sent SIGKILL, by a shell's convention."""


class LaunchFailed(Exception):
    """vLLM did not come up. The message says what happened and the mend, and ends with the log's last lines."""


def failure(what: str, log_path: Path, start: int, status: int | None = None) -> LaunchFailed:
    """The error to raise: `what` happened, after `start` bytes of the log, perhaps with an exit `status`."""
    text = _tail(log_path, start)
    mend = next((mend for pattern, mend in MENDS if re.search(pattern, text, re.IGNORECASE)), None)
    if mend is None and status == KILLED:
        mend = "The system killed it, most likely for want of memory. End what else uses it, or take a smaller model."
    if mend is None:
        mend = "The log below says why."
    lines = "\n".join(f"  {line}" for line in text.splitlines()[-TAIL_LINES:])
    return LaunchFailed(f"{what} {mend}\nThe last lines of {log_path}:\n{lines}")


def last_word(log_path: Path, start: int) -> str:
    """The last line that says something of the progress, without its time stamp; empty where there is none."""
    for line in reversed(_tail(log_path, start).splitlines()):
        if found := MEANINGFUL.match(line):
            return (found["said"] or found["bar"]).strip()
    return ""


def _tail(log_path: Path, start: int) -> str:
    with log_path.open("rb") as log:
        size = log.seek(0, 2)
        log.seek(max(start, size - TAIL_BYTES))
        # Progress bars return to the start of their line.
        return log.read().decode(errors="replace").replace("\r", "\n")
