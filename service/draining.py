"""How a replica leaves its load balancer without losing a request."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

BACKLOG_SECONDS: Final = 0.1
"""In which the connections that the kernel has opened are taken."""
LINGER_SECONDS: Final = 2.0
"""What connections have that were opened just before the end, to send their request."""

ATTACH_FILTER: Final = 26
"""SO_ATTACH_FILTER of Linux, which the socket module does not name."""
DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # the byte of the TCP header that holds its flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF_FFFF),  # keep
)
"""A filter as of bpf(4): code, jump if true, jump if false, operand."""


class Draining:
    """Whether this replica is about to end: it is not ready any more, and asks for connections not to be used again."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        self.begun = True


def take_no_more(listener: socket.socket) -> None:
    """Have the kernel open no more connections here, where it can, while those it has opened are still taken.

    A listener that is closed at once resets what waits in its backlog, requests that were sent among them. With this
    before, who comes later is refused after the close, and can go elsewhere: nothing was sent.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in DROP_SYN))
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HL", len(DROP_SYN), ctypes.addressof(program))
        )
