"""A finished job's journal as a file of JSON lines: a header, the records of its calls, its result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import msgspec

from service.errors import ApiError
from service.plan_facts import PlanFacts
from service.schemas import ChatRequest, read_chat
from strategies.journal import Record
from strategies.journal_codec import decode_record

VERSION: Final = 1
MOST_LINES: Final = 1_000_000

S = TypeVar("S")


class JournalError(ValueError):
    """A journal that cannot be read or run again; the message says where and why."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    object: Literal["aliquot.journal"]
    version: int
    id: str
    request: msgspec.Raw
    facts: PlanFacts


class _Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class JournalFile:
    """What a journal's file holds; `result` is None where it says none."""

    id: str
    request: ChatRequest
    facts: PlanFacts
    records: tuple[Record, ...]
    result: dict[str, Any] | None


def write_journal(
    id: str, request: bytes, facts: bytes, records: Iterable[bytes], result: bytes | None
) -> Iterator[bytes]:
    """The file's lines. All are given as JSON: the request's body, the plan's facts, encoded records, the reply."""
    header = {"object": "aliquot.journal", "version": VERSION, "id": id}
    known = {"request": _one_line(request), "facts": msgspec.Raw(facts)}
    yield msgspec.json.encode({**header, **known}) + b"\n"
    for record in records:
        yield record + b"\n"
    yield b'{"result":%b}\n' % (b"null" if result is None else result)


def read_journal(data: bytes) -> JournalFile:
    """What is in the bytes of a journal's file. Raises JournalError for any other, naming the line."""
    lines = data.splitlines()
    if len(lines) > MOST_LINES:
        raise JournalError(f"it has {len(lines)} lines, and at most {MOST_LINES} are read")
    header = _read(lines[0] if lines else b"", _Header, 1)
    if header.version != VERSION:
        raise JournalError(
            f"it is of version {header.version}, and this Aliquot reads {VERSION}: take the one that wrote it"
        )
    result = None
    if len(lines) > 1 and lines[-1].startswith(b'{"result":'):
        result = _read(lines.pop(), _Result, len(lines) + 1).result
    records = tuple(_record(line, place) for place, line in enumerate(lines[1:], 2))
    return JournalFile(header.id, _request(bytes(header.request)), header.facts, records, result)


def _one_line(request: bytes) -> msgspec.Raw:
    """JSON without line breaks: within a text they are escaped anyway."""
    return msgspec.Raw(request.replace(b"\n", b" ").replace(b"\r", b" "))


def _read(line: bytes, shape: type[S], place: int) -> S:
    try:
        return msgspec.json.decode(line, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise JournalError(f"line {place}: {error}") from error


def _record(line: bytes, place: int) -> Record:
    try:
        return decode_record(line)
    except ValueError as error:
        raise JournalError(f"line {place}: {error}") from error


def _request(body: bytes) -> ChatRequest:
    try:
        return read_chat(body)
    except ApiError as error:
        raise JournalError(f"line 1: request: {error.message}") from error
