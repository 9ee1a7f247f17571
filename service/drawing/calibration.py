"""A calibration's picture: the accuracy that was observed and the one that is predicted, against samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.drawing.chart import HEAD, HUES, MARGIN, Frame, band, dot, line, page, percent, powers_of_two
from service.drawing.svg import plain, text

NAME: Final = 40
"""Characters of a curve's name."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A strategy: `observed` [(samples, accuracy)] and `predicted` [(samples, accuracy, low, high)], samples rising."""

    name: str
    observed: Sequence[tuple[int, float]]
    predicted: Sequence[tuple[int, float, float, float]]


def draw_curves(heading: str, facts: Sequence[str], curves: Sequence[Curve]) -> str:
    """Up to three curves as SVG, each a line in its 90 % band with a dot for what was observed."""
    samples = [n for curve in curves for n, *_ in (*curve.observed, *curve.predicted)]
    shares = [a for curve in curves for _, *each in (*curve.observed, *curve.predicted) for a in each]
    frame = Frame.around(samples, shares)
    body = [
        *frame.grid(powers_of_two(frame.least, frame.most), "samples"),
        *_keys([curve.name for curve in curves]),
    ]
    layers: list[Iterator[str]] = [
        *(_band(frame, hue, curve) for hue, curve in zip(HUES, curves, strict=False)),
        *(_line(frame, hue, curve) for hue, curve in zip(HUES, curves, strict=False)),
        *(_dots(frame, hue, curve) for hue, curve in zip(HUES, curves, strict=False)),
    ]
    return page(heading, facts, body + [mark for layer in layers for mark in layer])


def _band(frame: Frame, hue: str, curve: Curve) -> Iterator[str]:
    if curve.predicted:
        yield band(
            hue,
            [frame.at(n, high) for n, _, _, high in curve.predicted],
            [frame.at(n, low) for n, _, low, _ in curve.predicted],
        )


def _line(frame: Frame, hue: str, curve: Curve) -> Iterator[str]:
    if curve.predicted:
        yield line(hue, [frame.at(n, value) for n, value, _, _ in curve.predicted])


def _dots(frame: Frame, hue: str, curve: Curve) -> Iterator[str]:
    predicted = {n: rest for n, *rest in curve.predicted}
    for n, value in curve.observed:
        about = f"{plain(curve.name, NAME)}, {n:,} sample{'s' * (n > 1)}\nobserved {percent(value)}"
        if n in predicted:
            about += "\npredicted {}, 90 % interval {} to {}".format(*map(percent, predicted[n]))
        yield dot(hue, frame.at(n, value), about)


def _keys(names: Sequence[str]) -> Iterator[str]:
    x, y = float(MARGIN), HEAD - 24
    for hue, name in zip(HUES, (plain(name, NAME) for name in names), strict=False):
        yield band(hue, [(x, y - 7), (x + 28, y - 7)], [(x, y + 7), (x + 28, y + 7)])
        yield line(hue, [(x, y), (x + 28, y)])
        yield dot(hue, (x + 14, y), name)
        yield text(x + 36, y + 4, name)
        x += 36 + 6.4 * len(name) + 24
    yield text(x, y + 4, "dots: observed; lines: predicted, with 90 % intervals", "m")
