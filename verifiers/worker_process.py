"""The other side of `workers.py`: a process that runs one function at a time, named and answered in JSON.

Started as `python -P -m verifiers.worker_process MEMORY_BYTES PARENT_PID MODULE…`. Messages on standard input
and output are a length (4 bytes, big-endian) and that many bytes of JSON. JSON rather than pickle, so that a
worker led astray by what it parsed cannot hand its parent code to run.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO

HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


def main(memory_bytes: int, parent: int, modules: list[str]) -> None:
    """Serve until standard input ends or memory runs out."""
    requests, replies = _take_pipes()
    _end_with(parent)
    logging.disable(logging.CRITICAL)
    for module in modules:
        importlib.import_module(module)
    _limit_memory(memory_bytes)
    _send(replies, {"ready": True})
    while header := requests.read(HEADER.size):
        call = json.loads(requests.read(HEADER.unpack(header)[0]))
        reply = _run(call)
        _send(replies, reply)
        if reply.get("error") == MemoryError.__name__:
            return


def _run(call: dict[str, Any]) -> dict[str, Any]:
    try:
        target: Any = importlib.import_module(call["module"])
        for name in call["function"].split("."):
            target = getattr(target, name)
        return {"result": target(*call["arguments"])}
    except Exception as error:
        return {"error": type(error).__name__}


def _send(replies: BinaryIO, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode()
    replies.write(HEADER.pack(len(data)) + data)
    replies.flush()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The message pipes, out of reach of libraries that print."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return requests, replies


def _end_with(parent: int) -> None:
    """Leave Ctrl-C to the parent, and die when it dies, even in the middle of a call (on Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _limit_memory(more: int) -> None:
    """Allow `more` bytes of address space beyond what the imports took; no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        with open("/proc/self/statm") as statm:
            taken = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + more, taken + more))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
