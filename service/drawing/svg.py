"""SVG as text: elements, numbers, and words from elsewhere made safe."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import east_asian_width
from xml.sax.saxutils import escape, quoteattr

_BAD: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""What XML forbids and has no meaning: lone surrogates and the noncharacters of the first plane."""
_UNSEEN: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls that XML forbids, and those that turn the direction of all the text around them."""


def element(name: str, *inside: str, **attributes: str | float) -> str:
    """An element; `inside` is markup already. Underscores in names of attributes stand for hyphens."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(value if isinstance(value, str) else number(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{''.join(inside)}</{name}>" if inside else f"<{name}{given}/>"


def number(value: float) -> str:
    """A coordinate, to a hundredth of a pixel."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def plain(text: str, most: int) -> str:
    """The beginning of a text from elsewhere, on one line, as XML can hold it: at most `most` characters, unescaped."""
    start = text[: 4 * most]
    clean = " ".join(_BAD.sub("\ufffd", _UNSEEN.sub("", start)).split())
    return clean if len(clean) <= most and len(start) == len(text) else clean[: most - 1].rstrip() + "…"


def fitting(text: str, width: float, size: float = 11) -> str:
    """As much of a text's beginning as `width` pixels hold at a font size, by a guess of how wide letters are."""
    left, shown = width / size, plain(text, 400)
    for i, letter in enumerate(shown):
        left -= 1.0 if east_asian_width(letter) in "WF" else 0.57
        if left < 0:
            return shown[: max(i - 1, 0)].rstrip() + "…"
    return shown


def title(*lines: str) -> str:
    """A tooltip."""
    return element("title", escape("\n".join(lines)))


def text(x: float, y: float, words: str, kind: str = "", **attributes: str | float) -> str:
    """Words of ours."""
    return element("text", escape(words), x=x, y=y, **({"class": kind} if kind else {}), **attributes)


def boxed(x: float, y: float, words: str, width: float, size: float = 11, kind: str = "") -> str:
    """Words from elsewhere on the baseline `y`, cut to `width`: where the guess of its width fails, it is clipped."""
    inner = text(0, 1.5 * size, fitting(words, width, size), kind)
    return element("svg", inner, x=x, y=y - 1.5 * size, width=width, height=2 * size)


def short(value: float) -> str:
    """A count in at most four characters and a unit: 950, 1.2k, 35k, 1.5M."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            scaled = value / scale
            return f"{scaled:.1f}".removesuffix(".0") + unit if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"
