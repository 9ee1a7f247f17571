"""The `json` format: the JSON value in a response, its keys sorted and its numbers written one way."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal, DecimalException
from itertools import islice
from typing import Any

from verifiers.formats.base import encodable

MOST_CHARACTERS = 100_000
MOST_NESTING = 64
_LARGEST_EXPONENT = 308
_TRIES = 8
_SCANNED = 1_000
"""Characters from which a text is scanned, in a tenth of the time, before its numbers are read exactly."""
_START = re.compile(r"[{\[]")
_FENCE_LANGUAGE = re.compile(r"^[A-Za-z0-9]*\n")


def _number(literal: str) -> int | float:
    """A JSON number with a point or an exponent: `1.0` is the integer 1."""
    try:
        value = Decimal(literal)
    except DecimalException as error:
        raise ValueError(literal[:20]) from error
    if value.adjusted() > _LARGEST_EXPONENT:
        raise ValueError(literal[:20])
    return int(value) if value == value.to_integral_value() else float(value) or 0


def _refuse(literal: str) -> None:
    raise ValueError(f"{literal} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_refuse)
_SCANNER = json.JSONDecoder(parse_constant=_refuse)


def decode(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that starts at `text[start]`, and where it ends.

    Of equal keys the last counts. Raises ValueError for what is not JSON (NaN and Infinity too), or is
    longer than `MOST_CHARACTERS`, nested deeper than `MOST_NESTING`, or has a number beyond 1e308.
    """
    if len(text) - start > MOST_CHARACTERS:
        value, length = decode(text[start : start + MOST_CHARACTERS])
        return value, start + length
    try:
        if len(text) - start > _SCANNED:
            _SCANNER.raw_decode(text, start)
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if (
        text.count("{", start, end) + text.count("[", start, end) > MOST_NESTING
        and nesting(value) > MOST_NESTING
    ):
        raise ValueError("nested too deep")
    return value, end


def nesting(value: Any) -> int:
    """How deep lists and objects lie in one another, counted no further than one past `MOST_NESTING`."""
    depth, level = 0, [value]
    while depth <= MOST_NESTING:
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return depth
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def encode(value: Any) -> str:
    """`value` as JSON in one form: sorted keys, no spaces."""
    return encodable(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def read_json(text: str) -> str | None:
    """The JSON value of a response, encoded one way; None for none.

    It is the whole text, else the last fenced block that is JSON, else the first object or array.
    """
    fenced = text.split("```")[1::2]
    for whole in (text, *islice(reversed(fenced), _TRIES)):
        whole = _FENCE_LANGUAGE.sub("", whole, count=1).strip()
        with suppress(ValueError):
            value, end = decode(whole)
            if end == len(whole):
                return encode(value)
    for start in islice(_START.finditer(text), _TRIES):
        with suppress(ValueError):
            return encode(decode(text, start.start())[0])
    return None
