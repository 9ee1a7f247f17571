"""What runs first inside the sandbox of `sandbox.py`: gives up what it may still do, then becomes the program.

Its source is handed to `python -c` with the limits as arguments: CPU seconds, bytes of address space, threads, open
files, bytes of a file, and the highest descriptor that may have come along. Standard input is the program's length
(8 bytes, big-endian), the program, and its own input.
"""

from __future__ import annotations

import os
import resource
import sys
from types import ModuleType

STARTED = b"\x06"
"""Said on standard output once all limits hold, before the program's first line."""

NOBODY = 65534


def main(cpu: int, memory: int, threads: int, files: int, file_size: int, highest: int) -> None:
    _limit(resource.RLIMIT_CPU, cpu)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_NPROC, threads)
    _limit(resource.RLIMIT_NOFILE, files)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_CORE, 1)  # 0 would still start a handler of core dumps, outside
    if (
        os.getuid() != NOBODY
    ):  # the kernel counts no threads of root's, so where the service is root, this is not
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.closerange(3, max(files, highest + 1))  # a limit on open files closes none above it
    program = _read(int.from_bytes(_read(8), "big"))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)
    sys.argv[:] = [""]
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    os.write(1, STARTED)
    exec(compile(program, "<program>", "exec", dont_inherit=True), module.__dict__)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _read(count: int) -> bytes:
    """`count` bytes of standard input and none that come after them."""
    data = b""
    while len(data) < count and (more := os.read(0, count - len(data))):
        data += more
    return data


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
