"""Accuracy against something that grows by factors: the frame of such a chart, its grid, bands, lines and dots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.drawing.style import STYLE
from service.drawing.svg import boxed, element, number, plain, text, title

WIDTH: Final = 800
MARGIN: Final = 32
AXIS: Final = 44
"""Room for the numbers of the accuracy, left of the frame."""
HEAD: Final = 124
FOOT: Final = 62
HEIGHT: Final = 400
"""Of the frame; the picture is as much higher as its head and foot."""

HUES: Final = ("green", "blue", "orange")
_CHART: Final = """
.band { stroke: none; opacity: 0.17; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dot { stroke: #ffffff; stroke-width: 1; }
.band.green, .dot.green { fill: #1a7f37; }
.band.blue, .dot.blue { fill: #0969da; }
.band.orange, .dot.orange { fill: #d1480a; }
.line.green { stroke: #1a7f37; }
.line.blue { stroke: #0969da; }
.line.orange { stroke: #d1480a; }
@media (prefers-color-scheme: dark) {
  .dot { stroke: #0d1117; }
  .band.green, .dot.green { fill: #3fb950; }
  .band.blue, .dot.blue { fill: #58a6ff; }
  .band.orange, .dot.orange { fill: #ff8a4c; }
  .line.green { stroke: #3fb950; }
  .line.blue { stroke: #58a6ff; }
  .line.orange { stroke: #ff8a4c; }
}
"""

Ticks = Sequence[tuple[float, str]]
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values stand: x from `least` to `most`, above 0, by its logarithm; accuracy from `low` to `high`."""

    least: float
    most: float
    low: float
    high: float

    @classmethod
    def around(cls, xs: Iterable[float], accuracies: Iterable[float]) -> Frame:
        """A frame that holds all these, its accuracies from one tick to another."""
        x, y = list(xs), list(accuracies)
        step = _step(min(y), max(y))
        low, high = math.floor(min(y) / step + 1e-9) * step, math.ceil(max(y) / step - 1e-9) * step
        least, most = min(x), max(x)
        if most / least < 1.5:
            least, most = least / 1.5, most * 1.5
        low = min(max(0.0, low), 1 - step)
        return cls(least, most, low, min(1.0, max(high, low + step)))

    def at(self, x: float, accuracy: float) -> Place:
        """Where a value stands, in pixels."""
        wide = WIDTH - 2 * MARGIN - AXIS
        across = math.log(x / self.least) / math.log(self.most / self.least)
        up = (accuracy - self.low) / (self.high - self.low)
        return MARGIN + AXIS + wide * across, HEAD + HEIGHT * (1 - up)

    def grid(self, ticks: Ticks, name: str) -> Iterator[str]:
        """Lines and numbers of both axes, and what the one below shows."""
        step = _step(self.low, self.high)
        (left, bottom), (right, top) = self.at(self.least, self.low), self.at(self.most, self.high)
        for i in range(round((self.high - self.low) / step) + 1):
            y = self.at(self.least, self.low + i * step)[1]
            yield element("line", x1=left, y1=y, x2=right, y2=y, class_="grid")
            yield text(left - 8, y + 4, f"{100 * (self.low + i * step):.0f} %", "m end")
        for value, words in ticks:
            x = self.at(value, self.low)[0]
            yield element("line", x1=x, y1=bottom, x2=x, y2=top, class_="grid")
            yield text(x, bottom + 18, words, "m mid")
        yield text((left + right) / 2, bottom + 38, name, "m mid")


def _step(low: float, high: float) -> float:
    return next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if high - low <= 10 * step or step == 0.2)


def powers_of_two(least: float, most: float) -> Ticks:
    """1, 2, 4, … within a range."""
    return [(float(1 << i), f"{1 << i:,}") for i in range(40) if least <= 1 << i <= most]


def tens(least: float, most: float) -> Ticks:
    """Powers of ten within a range, with 2 and 5 times each where these are few."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    factors = (1, 2, 5) if last - first <= 4 else (1,)
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    every = max(1, len(values) // 12)
    return [(value, written(value)) for value in values[::every] if least <= value <= most]


def written(value: float) -> str:
    """A number in few characters: 250, 1,200, 0.05, 3e+15."""
    return f"{value:,.0f}" if 10 <= value < 1e6 else f"{value:.3g}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def band(hue: str, upper: Sequence[Place], lower: Sequence[Place]) -> str:
    return element("path", d=_through([*upper, *reversed(lower)]) + "Z", class_=f"band {hue}")


def line(hue: str, places: Sequence[Place]) -> str:
    return element("path", d=_through(places), class_=f"line {hue}")


def dot(hue: str, place: Place, about: str, size: float = 4) -> str:
    return element("circle", title(about), cx=place[0], cy=place[1], r=size, class_=f"dot {hue}")


def page(heading: str, facts: Sequence[str], body: Sequence[str]) -> str:
    """The whole picture: no scripts, nothing from elsewhere, the same at each call."""
    height = HEAD + HEIGHT + FOOT
    return element(
        "svg",
        element("style", STYLE + _CHART),
        element("rect", width=WIDTH, height=height, class_="page"),
        boxed(MARGIN, 46, heading, WIDTH - 2 * MARGIN, 20, "head"),
        boxed(MARGIN, 68, " · ".join(facts), WIDTH - 2 * MARGIN, 11, "m"),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        aria_label=plain(f"{heading}. {', '.join(facts)}", 300),
        width=WIDTH,
        height=height,
        viewBox=f"0 0 {number(WIDTH)} {number(height)}",
    )


def _through(places: Sequence[Place]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in places)
