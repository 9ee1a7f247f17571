"""REBASE: every leaf is kept, and the width is shared out by reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from strategies.base import VerifierNeed
from strategies.selection import rebase_counts
from strategies.stepping import Walk
from strategies.tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class Rebase(TreeSearch):
    """Reward-balanced search: a leaf gets ⌈width·softmax(score/T)⌉ continuations, best first, while width lasts.

    Cost: N samples; one engine call and one verifier call a step. Source: REBASE, Wu et al. 2408.00724.
    """

    temperature: Annotated[
        float, Field(gt=0, le=1e6, description="T of the softmax, in units of reward.")
    ] = 0.2

    name: ClassVar[str] = "rebase"
    verifier: ClassVar[VerifierNeed] = "default"

    async def share(self, walk: Walk, grown: Sequence[int], width: int) -> Mapping[int, int]:
        leaves = walk.live(grown)
        counts = rebase_counts(walk.scores(leaves), width, self.temperature)
        return walk.selected(dict(zip(leaves, counts, strict=True)))
