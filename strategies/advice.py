"""What a strategy can be told, on its way, about how to go on: by whoever knows what samples buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from strategies.voting import Ballot

Seen = tuple[str | None, float | None]
"""A sample's answer and its score, None where it has none."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Draw `more` samples; 0: enough. `ranked`: the answers seen so far, likeliest right first.

    `right`: the probability that one of those asked for is right, None where it is not known. `reason` says why.
    """

    more: int
    ranked: tuple[str, ...] = ()
    right: float | None = None
    reason: str = ""


class Advisor(Protocol):
    """Says how many samples are worth drawing, and which of their answers are likely right."""

    async def advise(self, seen: Sequence[Seen], left: int) -> Advice:
        """What to do after these samples, in the order drawn, where `left` may yet be drawn."""
        ...


class Unadvised:
    """Knows nothing: all samples at once, and a vote."""

    async def advise(self, seen: Sequence[Seen], left: int) -> Advice:
        votes = Ballot(answer for answer, _ in seen if answer is not None)
        return Advice(0 if seen else left, tuple(votes.ranked()))
