"""The system calls that a program in the sandbox may not make, as a seccomp filter.

Namespaces hide files, processes and the network; this takes away what they do not cover: new processes (so that limits
of one process are limits of all), memory that no limit counts, sockets that no network namespace holds (vsock), and
doors to the kernel that a program under test has no use for.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache
from typing import Final

_ELSEWHERE: Final = {
    "pidfd_getfd": 438,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
"""Calls that came after all machines agreed on their numbers."""

_X86_64: Final = {
    "fork": 57,
    "vfork": 58,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "unshare": 272,
    "setns": 308,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "shmget": 29,
    "msgget": 68,
    "semget": 64,
    "mq_open": 240,
    "memfd_create": 319,
}
_AARCH64: Final = {
    "ptrace": 117,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "mount": 40,
    "umount2": 39,
    "pivot_root": 41,
    "chroot": 51,
    "unshare": 97,
    "setns": 268,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "bpf": 280,
    "perf_event_open": 241,
    "userfaultfd": 282,
    "shmget": 194,
    "msgget": 186,
    "semget": 190,
    "mq_open": 180,
    "memfd_create": 279,
}
_MACHINES: Final = {
    # audit's name of the machine; its denied calls; clone, socket, socketpair
    "x86_64": (0xC000003E, _X86_64, 56, (41, 53)),
    "aarch64": (0xC00000B7, _AARCH64, 220, (198, 199)),
}
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x10000
_AF_UNIX: Final = 1
_X32: Final = 0x40000000
"""Bit of the calls of x86_64's other ABI, whose numbers would slip through."""

_NUMBER, _MACHINE, _ARGUMENT = 0, 4, 16
"""Offsets into `struct seccomp_data`: the call, the machine, the low half of the first argument."""

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def machines() -> tuple[str, ...]:
    """The machines, as `platform.machine` names them, whose system calls are known here."""
    return tuple(_MACHINES)


@cache
def seccomp_filter(machine: str | None = None) -> bytes:
    """The filter for `machine` (default: this one), in the form that bubblewrap takes.

    Denied calls fail with EPERM; clone3 with ENOSYS, so that the C library starts threads with clone, whose flags can
    be looked at. Raises KeyError for a machine that `machines` does not name.
    """
    audit, denied, clone, sockets = _MACHINES[machine or platform.machine()]
    not_permitted = _FAIL | errno.EPERM
    program = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    for number in sorted({**denied, **_ELSEWHERE}.values()):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, not_permitted)]
    for number, test, wanted in ((clone, _BITS, _CLONE_THREAD), *((s, _EQUAL, _AF_UNIX) for s in sockets)):
        program += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARGUMENT),
            (test, 0, 1, wanted),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, not_permitted),
        ]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
