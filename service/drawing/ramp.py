"""Scores as colours: viridis, which is perceptually even and told apart by the colour-blind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

VIRIDIS: Final = ("440154", "472d7b", "3b528b", "2c728e", "21908c", "27ad81", "5dc863", "aadc32", "fde725")
"""Nine even steps of the map by Smith and van der Walt (matplotlib, CC0)."""


FLAT: Final = "#8c959f"
"""The colour of all marks where nothing was scored."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """Colours for scores from `low` to `high`."""

    low: float
    high: float

    @staticmethod
    def over(scores: Iterable[float | None]) -> Ramp | None:
        """From 0 to 1 where all scores lie there, so that pictures compare; else over their own range."""
        known = [score for score in scores if score is not None]
        if not known:
            return None
        low, high = min(known), max(known)
        return Ramp(0.0, 1.0) if low >= 0 and high <= 1 else Ramp(low, high)

    def colour(self, score: float) -> str:
        width = self.high / 2 - self.low / 2  # halves: the range of any two floats stays a float
        at = (score / 2 - self.low / 2) / width if width > 0 else 1.0
        return colour(min(max(at, 0.0), 1.0))


def shade(ramp: Ramp | None, score: float | None) -> str | None:
    """The colour of a mark; None, a hollow one, where others have scores and it has none."""
    if ramp is None:
        return FLAT
    return None if score is None else ramp.colour(score)


def colour(share: float) -> str:
    """The colour at a share of the way from the lowest, 0, to the highest, 1."""
    at = share * (len(VIRIDIS) - 1)
    i = min(int(at), len(VIRIDIS) - 2)
    pair = zip(bytes.fromhex(VIRIDIS[i]), bytes.fromhex(VIRIDIS[i + 1]), strict=True)
    return "#" + bytes(round(a + (b - a) * (at - i)) for a, b in pair).hex()
