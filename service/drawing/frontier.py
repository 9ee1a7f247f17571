"""A frontier's picture: the best accuracy that each cost buys, and which plan is recommended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.drawing.chart import (
    HEAD,
    MARGIN,
    Frame,
    Place,
    Ticks,
    band,
    dot,
    line,
    page,
    percent,
    tens,
    written,
)
from service.drawing.svg import element, fitting, plain, text

HUE: Final = "blue"
LETTER: Final = 6.2
BOLD: Final = 7.8
LINE: Final = 14
_LEAST_TICKS: Final = 3
NAME: Final = 300
"""Pixels that a label may take."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A plan on the frontier: what it is called, its cost, its accuracy with its 90 % interval."""

    name: str
    cost: float
    accuracy: float
    low: float
    high: float
    chosen: bool = False


def draw_frontier(heading: str, facts: Sequence[str], offered: Sequence[Offered], unit: str) -> str:
    """The plans as SVG, costs rising and above 0: accuracy against cost, the chosen one in a ring."""
    frame = Frame.around(
        [plan.cost for plan in offered],
        [share for plan in offered for share in (plan.low, plan.accuracy, plan.high)],
    )
    places = [frame.at(plan.cost, plan.accuracy) for plan in offered]
    body = [*frame.grid(_ticks(frame.least, frame.most), unit)]
    if len(offered) > 1:
        upper = [frame.at(plan.cost, plan.high) for plan in offered]
        lower = [frame.at(plan.cost, plan.low) for plan in offered]
        body += [band(HUE, upper, lower), line(HUE, places)]
    for plan, place in zip(offered, places, strict=True):
        body.append(dot(HUE, place, _about(plan, unit)))
        if plan.chosen:
            body.append(element("circle", cx=place[0], cy=place[1], r=9, fill="none", class_="ring"))
    body += _labels(frame, offered, places)
    body.append(text(MARGIN, HEAD - 20, "band: 90 % interval of the accuracy; ring: recommended", "m"))
    return page(heading, facts, body)


def _ticks(least: float, most: float) -> Ticks:
    """Three or more: tens where they are so many, else multiples of a 1, 2 or 5."""
    found = tens(least, most)
    if len(found) >= _LEAST_TICKS:
        return found
    power = 10.0 ** math.floor(math.log10(most - least))
    for step in (power * factor for factor in (1.0, 0.5, 0.2, 0.1)):
        places = range(math.ceil(least / step), math.floor(most / step) + 1)
        if len(places) >= _LEAST_TICKS:
            return [(place * step, written(place * step)) for place in places]
    return found


def _about(plan: Offered, unit: str) -> str:
    value, low, high = map(percent, (plan.accuracy, plan.low, plan.high))
    told = f"{plain(plan.name, 200)}\n{value}, 90 % interval {low} to {high}\n{plan.cost:.4g} {unit}"
    return told + "\nrecommended" * plan.chosen


def _labels(frame: Frame, offered: Sequence[Offered], places: Sequence[Place]) -> Iterator[str]:
    """Names beside their dots, the recommended one's first; one with no free place is in its tooltip alone."""
    left, right = frame.at(frame.least, frame.low)[0], frame.at(frame.most, frame.low)[0]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    order = sorted(range(len(offered)), key=lambda i: not offered[i].chosen)
    for i in order:
        words, (x, y) = fitting(offered[i].name, NAME), places[i]
        wide = (BOLD if offered[i].chosen else LETTER) * len(words)
        for dx, dy in ((12, 18), (-12 - wide, -10), (12, 34), (-12 - wide, -26), (12, -14), (-12 - wide, 22)):
            box = x + dx, y + dy - 11, x + dx + wide, y + dy + LINE - 11
            inside = box[0] >= left and box[2] <= right
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield text(x + dx, y + dy, words, "part" if offered[i].chosen else "m")
                break


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
