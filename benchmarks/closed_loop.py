"""A closed-loop HTTP client that is cheap enough not to distort what it measures.

`width` connections each send a request, wait for the whole answer, check it, and send the next, until the time
is up. Every request has a prompt of its own. The first answer that is not right ends the run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httptools
import msgspec
import uvloop

PLACE = "{number}"
"""Where a request's prompt has the number that makes it different from all others."""
DIGITS = 9
PATIENCE = 60.0
"""Seconds that the last answers may take once the time is up."""


class WrongAnswer(Exception):
    """An answer was missing, late, or not what was asked for; the message says which."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right answer has: `choices` choices, `text` in the first, `completion_tokens` in its usage."""

    choices: int
    text: str
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds each request took, fastest first, and seconds from the first request to the last answer."""

    latencies: tuple[float, ...]
    seconds: float

    def percentile(self, share: float) -> float:
        """The least latency that at least `share` of the requests do not exceed (nearest rank), in seconds."""
        return self.latencies[max(math.ceil(share * len(self.latencies)), 1) - 1]


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


_decoder = msgspec.json.Decoder(_Answer)


def fault(content: bytes, expected: Expected) -> str | None:
    """What is wrong with the answer `content`, or None."""
    try:
        answer = _decoder.decode(content)
    except msgspec.MsgspecError as error:
        return f"is no chat completion ({error})"
    if len(answer.choices) != expected.choices:
        return f"has {len(answer.choices)} choices, not {expected.choices}"
    if expected.text not in answer.choices[0].message.content:
        return f"does not say {expected.text!r}"
    if answer.usage.completion_tokens != expected.completion_tokens:
        return f"counts {answer.usage.completion_tokens} completion tokens, not {expected.completion_tokens}"
    return None


class Requests:
    """The bytes of one POST after another, alike but for the number in the prompt, and in `headers` that name it."""

    def __init__(
        self,
        path: str,
        body: dict[str, Any],
        numbers: Iterator[int],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        content = msgspec.json.encode(body)
        places = content.count(PLACE.encode())
        if not places:
            raise ValueError(f"the body has no {PLACE} in its prompt: its requests would all be the same")
        length = len(content) + places * (DIGITS - len(PLACE))
        named = {"host": "127.0.0.1", "content-type": "application/json", **(headers or {})}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        head = "\r\n".join([*lines, f"content-length: {length}", "", ""])
        self._parts = (head.encode() + content).split(PLACE.encode())
        self._numbers = numbers

    def next(self) -> bytes:
        return (b"%0*d" % (DIGITS, next(self._numbers))).join(self._parts)


class _Run:
    """One measurement: shared by its connections."""

    def __init__(self, requests: Requests, expected: Expected, seconds: float) -> None:
        self.requests = requests
        self.expected = expected
        self.latencies: list[float] = []
        self.until = time.perf_counter() + seconds
        self.open = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(WrongAnswer(message))

    def close_one(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self.run = run
        self.parser = httptools.HttpResponseParser(self)
        self.content: list[bytes] = []
        self.began = 0.0
        self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class

    def send(self) -> None:
        self.content = []
        self.idle = False
        self.began = time.perf_counter()
        self.transport.write(self.run.requests.next())

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.run.fail(f"an answer is not HTTP: {error}")

    def on_body(self, body: bytes) -> None:
        self.content.append(body)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        content = b"".join(self.content)
        if (status := self.parser.get_status_code()) != 200:
            self.run.fail(f"an answer has status {status}: {content[:300]!r}")
            return
        if wrong := fault(content, self.run.expected):
            self.run.fail(f"an answer {wrong}: {content[:300]!r}")
            return
        self.run.latencies.append(now - self.began)
        self.idle = True
        if now < self.run.until:
            self.send()
        else:
            self.run.close_one()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.idle:
            self.run.fail("the service closed a connection before its answer was whole")


async def _drive(port: int, width: int, seconds: float, requests: Requests, expected: Expected) -> Measured:
    loop = asyncio.get_running_loop()
    run = _Run(requests, expected, seconds)
    connections = [
        (await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port))[1] for _ in range(width)
    ]
    run.open = width
    began = time.perf_counter()
    run.until = began + seconds
    try:
        for connection in connections:
            connection.send()
        async with asyncio.timeout(seconds + PATIENCE):
            await run.done
    except TimeoutError:
        raise WrongAnswer(f"no answer within {PATIENCE:.0f} s") from None
    finally:
        for connection in connections:
            connection.transport.abort()
    return Measured(tuple(sorted(run.latencies)), time.perf_counter() - began)


def drive(port: int, width: int, seconds: float, requests: Requests, expected: Expected) -> Measured:
    """Keep `width` requests in flight for `seconds`, and wait for the last; raises WrongAnswer."""
    try:
        return uvloop.run(_drive(port, width, seconds, requests, expected))
    except OSError as error:
        raise WrongAnswer(f"the service cannot be reached: {error}") from error
