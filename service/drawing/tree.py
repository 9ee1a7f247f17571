"""A search tree or the genealogy of particles: depth from left to right, a mark for each step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from service.drawing.layout import Layout, lay_out
from service.drawing.marks import GAP, mark
from service.drawing.model import PROMPT, Node, Panel
from service.drawing.ramp import Ramp, shade
from service.drawing.svg import boxed, element, number, plain, title

WORDS_NEED: Final = (130, 20)
"""Pixels of a column's width and a row's height from which the beginning of each step's text is written."""
STEM: Final = 0.74
"""The part of a column that is kept free of crossing edges where text stands in it."""
TALL: Final = 620


class Tree:
    """One panel, drawn with its prompt at (`x`, `y`'s first row) and columns `pitch` apart."""

    def __init__(self, panel: Panel, columns: dict[int, int], pitch: float, ramp: Ramp | None) -> None:
        self.panel, self.columns, self.pitch, self.ramp = panel, columns, pitch, ramp
        self.layout: Layout = lay_out(panel)
        self.row = min(max(TALL / self.layout.breadth, 9), 36)
        self.height = self.layout.breadth * self.row
        self.path = {node.id for node in panel.path()}
        self.worded = pitch >= WORDS_NEED[0] and self.row >= WORDS_NEED[1]
        self.parents = {node.parent for node in panel.nodes.values()}

    def draw(self, x: float, y: float) -> Iterator[str]:
        """Edges first, so that marks lie on them; the chosen path last of each."""
        nodes = sorted(self.panel.nodes.values(), key=lambda node: (node.id in self.path, not node.pruned))
        yield from self._edges(x, y)
        px, py = self._at(PROMPT, x, y)
        yield element(
            "rect", title("the prompt"), x=px - 4, y=py - 4, width=8, height=8, rx=2, class_="prompt"
        )
        for node in nodes:
            yield self._node(node, x, y)
        if self.worded:
            for node in nodes:
                yield self._words(node, x, y)

    def _at(self, id: int, x: float, y: float) -> tuple[float, float]:
        column = 0 if id == PROMPT else self.columns[self.panel.nodes[id].depth]
        return x + column * self.pitch, y + (self.layout.rows[id] + 0.5) * self.row

    def _edges(self, x: float, y: float) -> Iterator[str]:
        """One path of SVG for all edges that look alike."""
        alike: dict[tuple[int, str, float], list[str]] = {}
        for node in self.panel.nodes.values():
            (px, py), (cx, cy) = self._at(node.parent, x, y), self._at(node.id, x, y)
            stem = px + (self.pitch * STEM if self.worded and node.parent != PROMPT else 0)
            bend = number((stem + cx) / 2)
            line = f"M{number(px)} {number(py)}H{number(stem)}"
            line += f"C{bend} {number(py)} {bend} {number(cy)} {number(cx)} {number(cy)}"
            on_path = node.id in self.path
            kind = "way" if on_path else "lost" if node.pruned else "edge"
            look = (2 if on_path else 0 if node.pruned else 1), kind, self._width(node)
            alike.setdefault(look, []).append(line)
        for (_, kind, width), lines in sorted(alike.items()):
            yield element("path", class_=kind, stroke_width=width, d="".join(lines))

    def _width(self, node: Node) -> float:
        """Grows as the square root of the continuations, and is never wider than the mark is high."""
        least = 2.4 if node.id in self.path else 1.1
        return round(min(max(1.1 * math.sqrt(node.given or 1), least), self.row * 0.8), 1)

    def _node(self, node: Node, x: float, y: float) -> str:
        at = self._at(node.id, x, y)
        size = min(max(self.row * 0.36, 3), 6.5)
        about = title(*_about(node, node.id in self.path))
        return mark(
            *at,
            size * (0.75 if node.pruned else 1),
            about,
            fill=shade(self.ramp, node.score),
            finished=node.finished,
            pruned=node.pruned,
            chosen=node.id in self.path,
            recalled=node.recalled,
        )

    def _words(self, node: Node, x: float, y: float) -> str:
        """Above the stem that leads on from a node; beside a node that nothing follows."""
        nx, ny = self._at(node.id, x, y)
        leads_on = node.id in self.parents
        start, room = nx + GAP, self.pitch * STEM - GAP - 2
        baseline = ny - 4 - self._width(node) / 2 if leads_on else ny + 4
        many = f"×{node.given} " if node.given and node.given > 1 else ""
        score = (
            ""
            if node.score is None
            else (f"{node.score:.2f} " if abs(node.score) < 100 else f"{node.score:.2g} ")
        )
        kind = "m" if node.pruned else ""
        return boxed(start, baseline, score + many + node.text, room, kind=kind)


def _about(node: Node, chosen: bool) -> Iterator[str]:
    fate = []
    if node.recalled:
        fate.append("of an earlier iteration")
    if node.finished:
        fate.append("finished")
    if node.pruned:
        fate.append("pruned")
    elif node.given is not None:
        fate.append(f"{'kept' if node.finished else 'continued'} ×{node.given}")
    if chosen:
        fate.append("on the chosen path")
    score = "no score" if node.score is None else f"score {node.score:.6g}"
    yield f"step {node.id} after {'the prompt' if node.parent == PROMPT else node.parent}, depth {node.depth}"
    yield f"{score}, {node.tokens:,} tokens" + (f"; {', '.join(fate)}" if fate else "")
    yield plain(node.text, 200)
