"""The lines of a batch in OpenAI's shape: each a request with an id of the client's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from service.errors import ApiError
from service.schemas import ChatRequest, read_chat
from service.settings import Limits

Endpoint = Literal["/v1/chat/completions", "/v1/scale"]
ENDPOINTS: Final[tuple[Endpoint, ...]] = ("/v1/chat/completions", "/v1/scale")

MOST_FAULTS: Final = 100
"""More are not told of one batch."""
MOST_ID: Final = 512
SLICE_SECONDS: Final = 0.003
"""How long lines are read before others have their turn."""

_LINE = re.compile(rb"[^ \t\r\n][^\n]*")

Check = Callable[[ChatRequest], object]
"""Raises ApiError where a request cannot be done."""


class Name(msgspec.Struct, frozen=True):
    """What a line's result needs to know of it: the client's id, how many answers, and whether they may be calls."""

    custom_id: str
    n: int
    tools: bool


class Line(NamedTuple):
    name: Name
    body: bytes


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a line; the first line is 1."""

    code: str
    message: str
    param: str | None
    line: int | None


class Read(NamedTuple):
    """The lines of a batch, and what is wrong with it: one of them is empty."""

    endpoint: Endpoint
    lines: list[Line]
    faults: list[Fault]


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Bad(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


async def read_lines(body: bytes, limits: Limits, check: Check, endpoint: Endpoint | None = None) -> Read:
    """The lines of a batch for that endpoint, of which there may be `limits.batch_lines`, each with a body of
    `limits.body_bytes` at most; others have their turn meanwhile."""
    most = limits.batch_lines
    reading = _Reading(check, endpoint, limits.body_bytes)
    rested = time.monotonic()
    for number, text in _texts(body):
        if len(reading.seen) >= most:
            reading.fault(
                "too_many_requests", f"A batch has at most {most} requests. Send several.", None, None
            )
            break
        reading.take(number, text)
        if len(reading.faults) >= MOST_FAULTS:
            break
        if time.monotonic() > rested + SLICE_SECONDS:
            await asyncio.sleep(0)
            rested = time.monotonic()
    if not reading.seen and not reading.faults:
        reading.fault("empty_batch", "The body holds no request. Send one on each line, as JSON.", None, None)
    return Read(reading.endpoint or ENDPOINTS[0], [] if reading.faults else reading.lines, reading.faults)


class _Reading:
    """What has been read so far; every line counts as seen, whatever is wrong with it."""

    def __init__(self, check: Check, endpoint: Endpoint | None, most_bytes: int) -> None:
        self.endpoint = endpoint
        self.lines: list[Line] = []
        self.faults: list[Fault] = []
        self.seen: list[int] = []
        self._check = check
        self._most_bytes = most_bytes
        self._ids: dict[str, int] = {}

    def fault(self, code: str, message: str, param: str | None, line: int | None) -> None:
        self.faults.append(Fault(code, message, param, line))

    def take(self, number: int, text: bytes) -> None:
        self.seen.append(number)
        try:
            given = _given(text)
            self._check_id(given.custom_id, number)
            self._check_route(given.method, given.url)
            self._check_size(given.body)
            request = _request(bytes(given.body), self._check)
        except _Bad as bad:
            self.fault(bad.code, f"Line {number}: {bad}", bad.param, number)
        else:
            name = Name(given.custom_id, request.n or 1, request.may_call)
            self.lines.append(Line(name, bytes(given.body)))

    def _check_id(self, id: str, number: int) -> None:
        if not 1 <= len(id) <= MOST_ID or "\x00" in id:
            raise _Bad("invalid_custom_id", f"custom_id should have 1 to {MOST_ID} characters.", "custom_id")
        first = self._ids.setdefault(id, number)
        if first != number:
            message = f"custom_id is that of line {first} too. Give each line its own."
            raise _Bad("duplicate_custom_id", message, "custom_id")

    def _check_size(self, body: msgspec.Raw) -> None:
        if len(memoryview(body)) > self._most_bytes:
            message = f"body is larger than {self._most_bytes} bytes. Send fewer or shorter messages."
            raise _Bad("body_too_large", message, "body")

    def _check_route(self, method: str, url: str) -> None:
        if method != "POST":
            raise _Bad("invalid_method", "method should be POST.", "method")
        known = next((endpoint for endpoint in ENDPOINTS if endpoint == url), None)
        if known is None:
            raise _Bad("invalid_url", f"url should be {' or '.join(ENDPOINTS)}.", "url")
        self.endpoint = self.endpoint or known
        if known != self.endpoint:
            message = f"url should be {self.endpoint}, the batch's: a batch has one."
            raise _Bad("mismatched_url", message, "url")


def _texts(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number; blank ones, of which there may be millions, take no time."""
    at, number = 0, 1
    for found in _LINE.finditer(body):
        number += body.count(b"\n", at, found.start())
        at = found.start()
        yield number, found[0].rstrip(b" \t\r")


def _given(text: bytes) -> _Given:
    try:
        return msgspec.json.decode(text, type=_Given)
    except msgspec.ValidationError as error:
        message = f"{str(error)[:200]}. A line is {{custom_id, method, url, body}}."
        raise _Bad("invalid_line", message) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Bad("invalid_json_line", "This is not a JSON object on one line, in UTF-8.") from error


def _request(body: bytes, check: Check) -> ChatRequest:
    try:
        request = read_chat(body)
        if request.stream:
            raise _Bad("invalid_value", "body.stream: a batch has no streams. Leave it out.", "body.stream")
        check(request)
    except ApiError as error:
        param = f"body.{error.param}" if error.param else "body"
        raise _Bad(error.code, error.message, param) from error
    return request
