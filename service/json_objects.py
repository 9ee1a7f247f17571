"""JSON objects of a request whose fields Aliquot does not know: bounded, and plain JSON."""

from __future__ import annotations

import json
from typing import Any

MOST_CHARACTERS = 100_000


def plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """`value` itself. Raises ValueError where it is too large, or holds a number that JSON has not."""
    length = 0
    for key, part in value.items():
        try:
            length += len(key) + len(json.dumps(part, allow_nan=False))
        except (ValueError, RecursionError) as error:
            message = f"{key[:80]!r} holds NaN, an infinite number or too deep a nesting. Send plain JSON"
            raise ValueError(message) from error
    if length > MOST_CHARACTERS:
        raise ValueError(f"It has {length} characters, and at most {MOST_CHARACTERS} are taken")
    return value
