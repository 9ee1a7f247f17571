"""The marks of steps and responses: circles, and diamonds for what finished."""

from __future__ import annotations

from typing import Final

from service.drawing.svg import element, number

GAP: Final = 11
"""Pixels from a mark's middle to the words beside it."""


def mark(
    x: float,
    y: float,
    size: float,
    about: str = "",
    *,
    fill: str | None,
    finished: bool = False,
    pruned: bool = False,
    chosen: bool = False,
    recalled: bool = False,
) -> str:
    """A mark of radius `size`; hollow where there is no score to colour it by."""
    kinds = ["node"]
    if fill is None:
        kinds.append("none")
    if pruned and not chosen:
        kinds.append("pruned")
    if chosen:
        kinds.append("ring")
    if recalled:
        kinds.append("recalled")
    look: dict[str, str | float] = {"class_": " ".join(kinds), **({"fill": fill} if fill else {})}
    inside = [about] if about else []
    if not finished:
        return element("circle", *inside, cx=x, cy=y, r=size, **look)
    wide = size * 1.35
    corners = ((x, y - wide), (x + wide, y), (x, y + wide), (x - wide, y))
    return element(
        "path", *inside, d="M" + "L".join(f"{number(a)} {number(b)}" for a, b in corners) + "Z", **look
    )
