"""How to read a picture: the scores' colours, and the marks that are in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from service.drawing.marks import GAP, mark
from service.drawing.model import Node, Panel
from service.drawing.ramp import FLAT, Ramp, colour
from service.drawing.svg import element, text

RAMP: Final = 120
SHADES: Final = 30
LETTER: Final = 6.4


def legend(x: float, y: float, ramp: Ramp | None, panels: Collection[Panel]) -> Iterator[str]:
    """A line of keys around the height `y`, for the kinds of nodes that `panels` hold."""
    nodes = [node for panel in panels for node in panel.nodes.values()]
    if ramp:
        words = f"score {ramp.low:.4g}"
        yield text(x, y + 4, words, "m")
        x += LETTER * len(words) + 4
        for i in range(SHADES):
            left, wide = x + i * RAMP / SHADES, RAMP / SHADES + 0.3
            shade = colour(i / (SHADES - 1))
            yield element("rect", x=left, y=y - 5, width=wide, height=10, fill=shade)
        words = f"{ramp.high:.4g}"
        yield text(x + RAMP + 6, y + 4, words, "m")
        x += RAMP + LETTER * len(words) + 30
    for words, look in _kinds(nodes, colour(0.6) if ramp else FLAT):
        yield mark(x, y, 5.5, **look)
        yield text(x + GAP, y + 4, words, "m")
        x += GAP + LETTER * len(words) + 20
    if any(panel.chosen is not None for panel in panels):
        yield element("path", d=f"M{x:.1f} {y}h22", class_="way", stroke_width=2.4)
        yield text(x + 28, y + 4, "chosen path", "m")
        x += 28 + LETTER * 11 + 20
    if any((node.given or 0) > 1 for node in nodes):
        yield element("path", d=f"M{x:.1f} {y}h22", class_="edge", stroke_width=4)
        yield text(x + 28, y + 4, "wide: continued more often", "m")


def _kinds(nodes: Collection[Node], fill: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if any(not node.finished for node in nodes):
        yield "step", {"fill": fill}
    if any(node.finished for node in nodes):
        yield "finished", {"fill": fill, "finished": True}
    if any(node.pruned for node in nodes):
        yield "pruned", {"fill": fill, "pruned": True}
    if any(node.recalled for node in nodes):
        yield "of an earlier iteration", {"fill": fill, "recalled": True}
    if fill != FLAT and any(node.score is None for node in nodes):
        yield "no score", {"fill": None}
