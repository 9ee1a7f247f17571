"""JSON that may hold anything: bounded, and plain."""

from __future__ import annotations

import json
from typing import Any

MOST_CHARACTERS = 100_000
"""Of an object whose fields Aliquot does not know."""

_encoded = json.JSONEncoder(allow_nan=False).encode


def crowded(text: bytes, most: int) -> bool:
    """Whether a JSON text has more than `most` values, which would take long to read and to refuse."""
    if text.count(b",") <= most and text.count(b'"') <= 4 * most:
        return False
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > 4 * most:  # a value and its name are two texts at most
        return True
    return b"".join(unescaped.split(b'"')[::2]).count(b",") > most


def plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """`value` itself. Raises ValueError where it is too large, or holds a number that JSON has not."""
    try:
        length = len(_encoded(value))
    except (ValueError, RecursionError) as error:
        key = next((key for key, part in value.items() if not _plain(part)), next(iter(value)))
        message = f"{key[:80]!r} holds NaN, an infinite number or too deep a nesting. Send plain JSON"
        raise ValueError(message) from error
    if length > MOST_CHARACTERS:
        raise ValueError(f"It has {length} characters, and at most {MOST_CHARACTERS} are taken")
    return value


def _plain(part: Any) -> bool:
    try:
        _encoded(part)
    except (ValueError, RecursionError):
        return False
    return True
