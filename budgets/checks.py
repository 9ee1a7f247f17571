"""Numbers from outside, checked once, with errors that name the field and the mend."""

from __future__ import annotations

MOST = 1e18
"""Above any count there is, and small enough that products of a few stay finite."""


def check_number(
    name: str,
    value: object,
    *,
    least: float = 0.0,
    most: float = MOST,
    whole: bool = False,
    above: bool = False,
) -> None:
    """Raise ValueError unless `value` is a number from `least` (or above it) to `most`, integral where `whole`."""
    # Comparisons alone: a huge integer has no float, and NaN is no number at all.
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (value > least if above else value >= least)
        and value <= most
        and (not whole or value == int(value))
    ):
        return
    kind = "whole number" if whole else "number"
    edge = f"above {least:g}" if above else f"of at least {least:g}"
    raise ValueError(f"{name} must be a {kind} {edge} and at most {most:g}, not {_shown(value)}")


def _shown(value: object) -> str:
    """The value, short: an integer of a million digits would be slow to print, and refused."""
    if isinstance(value, int) and abs(value) > MOST:
        return "one beyond it"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
