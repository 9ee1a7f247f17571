"""The steps of the chosen path in words, one a line: a tree of many leaves has no room for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from service.drawing.marks import mark
from service.drawing.model import Node
from service.drawing.ramp import Ramp, shade
from service.drawing.svg import boxed, text

LINE: Final = 19
MOST: Final = 40


def story(path: Sequence[Node], ramp: Ramp | None, x: float, y: float, width: float) -> Iterator[str]:
    """Lines from `y` down; `story_height` says how far."""
    yield text(x, y, "The chosen path", "part")
    for node in path[:MOST]:
        y += LINE
        score = "" if node.score is None else f"{node.score:.4g}"
        yield text(x + 18, y, str(node.depth), "m end")
        yield mark(x + 34, y - 4, 5, fill=shade(ramp, node.score), finished=node.finished)
        yield text(x + 48, y, score)
        yield text(x + 164, y, f"{node.tokens:,} tokens", "m end")
        yield boxed(x + 178, y, node.text, width - 178)
    if len(path) > MOST:
        yield text(x + 178, y + LINE, f"and {len(path) - MOST:,} more", "m")


def story_height(path: Sequence[Node]) -> float:
    return LINE * (min(len(path), MOST + 1) + 1.5)
