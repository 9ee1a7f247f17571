"""A client's connection, which holds no more memory, and no longer, than a client that reads and writes needs."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import unreadable
from service.logs import logger
from service.settings import Limits

LEAST_BYTES: Final = 16_384
"""What a client must take in `limits.send_seconds` where more waits for it."""
MOST_HEAD: Final = 65_536
"""Bytes that the line and the headers of a request may have, if they do not come at once, and what stands between
pieces of its body or behind it."""
REFUSED: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
BYTES_ACKED: Final = 120
"""Where Linux' struct tcp_info has tcpi_bytes_acked."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which is cut where its client takes fewer than `LEAST_BYTES` in `limits.send_seconds`.

    Only what this process holds counts, not what the kernel has buffered. A reply is handed over whole, and a stream
    is held up: both wait here for the client, whose run is cancelled with its connection. One that does not send the
    head of its request within `limits.body_seconds`, or too long a one, is cut as well. Fields behind a chunked
    body are not taken.
    """

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._watching: asyncio.TimerHandle | None = None
        self._taken = 0
        self._heading: asyncio.TimerHandle | None = None
        self._in_head = True
        self._bare_bytes = 0

    @property
    def is_new(self) -> bool:
        """Whether no request has come yet."""
        return self.cycle is None

    @property
    def _is_idle(self) -> bool:
        """Whether the last request was answered, and no other one has begun: what comes then ends uvicorn's wait."""
        return self.cycle is not None and bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._heading = self.loop.call_later(self._limits.body_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._watching, self._heading):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bare_bytes += len(data)
        super().data_received(data)
        if (self._in_head or self._is_idle) and self.parser and self._heading is None:
            self._heading = self.loop.call_later(self._limits.body_seconds, self.transport.abort)
        if self._bare_bytes > MOST_HEAD and self.parser and not self.transport.is_closing():
            if self._in_head:
                self.send_400_response("The request's line and headers are too long.")
            else:
                self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode(unreadable(msg).body())
        self.transport.write(REFUSED % len(body) + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._bare_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._bare_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._heading:
            self._heading.cancel()
            self._heading = None
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch()

    def _watch(self) -> None:
        if self._watching is None:
            self._taken = self._bytes_taken()
            self._watching = self.loop.call_later(self._limits.send_seconds, self._look)

    def _look(self) -> None:
        self._watching = None
        if not self.transport.get_write_buffer_size():
            return
        if self._bytes_taken() - self._taken < LEAST_BYTES:
            logger().warning("client_cut", why=f"it read nothing for {self._limits.send_seconds:g} s")
            self.transport.abort()
        else:
            self._watch()

    def _bytes_taken(self) -> int:
        """Bytes that the client's machine has received; elsewhere than on Linux as far as what waits here tells."""
        if sys.platform == "linux":
            with suppress(OSError, struct.error):
                of: socket.socket = self.transport.get_extra_info("socket")
                told = of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                return int(struct.unpack_from("Q", told, BYTES_ACKED)[0])
        return -self.transport.get_write_buffer_size()


def connections(limits: Limits) -> type[asyncio.Protocol]:
    """What uvicorn takes as its `http`."""
    return cast(type[asyncio.Protocol], partial(Connection, limits=limits))
