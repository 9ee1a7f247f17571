"""Bars of the KV tokens that the frontier holds at each depth: grown, and of these kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from service.drawing.model import Depth
from service.drawing.svg import element, short, text, title

HEIGHT: Final = 96
NUMBERS_NEED: Final = 58
"""Pixels of a column's width from which each bar's number is written above it."""


def bars(
    depths: Mapping[int, Depth], columns: Mapping[int, int], pitch: float, x: float, y: float, most: int
) -> Iterator[str]:
    """Bars below the columns of a tree, `y` being their top; `most` KV tokens are as high as the chart."""
    top, tick = _scale(most)
    right = x + pitch * max(columns.values(), default=0) + _wide(pitch)
    for i in range(round(top / tick) + 1):
        level = y + HEIGHT * (1 - i * tick / top)
        yield element("line", x1=x + 4, y1=level, x2=right, y2=level, class_="grid")
        yield text(x - 4, level + 4, short(i * tick), "m end")
    for number, depth in depths.items():
        middle = x + columns[number] * pitch
        inside = [title(*_about(number, depth))]
        for value, kind, width in ((depth.grown, "grown", 1.0), (depth.kept, "kept", 0.55)):
            if value is not None:
                wide, high = _wide(pitch) * width, HEIGHT * value / top
                inside.append(
                    element(
                        "rect", x=middle - wide / 2, y=y + HEIGHT - high, width=wide, height=high, class_=kind
                    )
                )
        yield element("g", *inside)
        if pitch >= NUMBERS_NEED:
            tallest = max(depth.grown or 0, depth.kept or 0)
            both = " → ".join(short(v) for v in (depth.grown, depth.kept) if v is not None)
            yield text(middle, y + HEIGHT * (1 - tallest / top) - 4, both, "m mid")


def _wide(pitch: float) -> float:
    return min(pitch * 0.7, 44)


def _scale(most: int) -> tuple[float, float]:
    """The top of an axis and the distance of its ticks: 1, 2 or 5 times a power of ten, 2 to 5 of them."""
    if most <= 0:
        return 1.0, 1.0
    power = 10.0 ** math.floor(math.log10(most / 2))
    tick = next(step * power for step in (1, 2, 5, 10) if most / (step * power) <= 4)
    return tick * math.ceil(most / tick), tick


def _about(number: int, depth: Depth) -> Iterator[str]:
    yield f"depth {number}"
    if depth.grown is not None:
        yield f"{depth.grown:,} KV tokens after growing"
    if depth.kept is not None:
        share = f" ({depth.kept / depth.grown:.0%})" if depth.grown else ""
        yield f"{depth.kept:,} after selection{share}"
    for name, value in depth.facts.items():
        yield f"{name} {value:.6g}" if not isinstance(value, bool) else f"{name}: {'yes' if value else 'no'}"
