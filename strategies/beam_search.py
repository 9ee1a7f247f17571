"""Beam search: the best leaves are kept, and share the width equally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from strategies.base import VerifierNeed
from strategies.stepping import Walk
from strategies.tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class BeamSearch(TreeSearch):
    """The `keep` leaves with the highest scores go on, each with an equal share of the width; the best get the rest.

    Cost: N samples; one engine call and one verifier call a step. Source: Snell et al. 2408.03314, section 5.2.
    """

    keep: Annotated[
        int | None, Field(ge=1, le=10_000, description="Beams kept at a depth; null: a quarter of the width.")
    ] = None

    name: ClassVar[str] = "beam_search"
    verifier: ClassVar[VerifierNeed] = "default"

    async def share(self, walk: Walk, grown: Sequence[int], width: int) -> Mapping[int, int]:
        best = walk.best_first(walk.live(grown))[: self.keep or max(1, width // 4)]
        return walk.selected(equal_shares(best, width))


def equal_shares(nodes: Sequence[int], width: int) -> dict[int, int]:
    """`width` shared equally among `nodes`, the first ones getting what is left over."""
    each, over = divmod(width, len(nodes))
    return {node: each + (i < over) for i, node in enumerate(nodes)}
