"""The `number` format: the final number of a response, compared exactly."""

from __future__ import annotations

from fractions import Fraction

from verifiers.formats import extract, numerals


def read_number(text: str) -> str | None:
    """The number a response ends with, written one way: `1,000`, `1000.0` and `1e3` are all `1000`.

    It is the one in the last box, else after `####`, else the first after "the answer is", else the last
    in the text. Units, currency and percent signs are left out. None for no number, or for one that takes
    more than `numerals.MOST_DIGITS` characters to write.
    """
    value = _read(text)
    shown = numerals.show(value) if value is not None else None
    return shown if shown and len(shown) <= numerals.MOST_DIGITS else None


def _read(text: str) -> Fraction | None:
    held = extract.boxed(text) or extract.hashed(text)
    value = numerals.exact(held or text)
    if value is not None:
        return value
    if held:
        return numerals.last(held)
    said = extract.stated(text)
    value = _first(said) if said else None
    return numerals.last(text) if value is None else value


def _first(said: str) -> Fraction | None:
    value = numerals.exact(said)
    if value is not None:
        return value
    return numerals.first(extract.after_working(said))
