"""Diverse verifier tree search: beam search in subtrees that never compete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from strategies.base import VerifierNeed
from strategies.beam_search import equal_shares
from strategies.stepping import Walk
from strategies.tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class DiverseVerifierTreeSearch(TreeSearch):
    """N / `branches` subtrees, each a beam search of its own that keeps its best leaf and branches it anew.

    A subtree ends with the first response that is its best leaf.

    Cost: N samples; one engine call and one verifier call a step. Source: DVTS, Beeching, Tunstall and Rush,
    «Scaling test-time compute with open models» (search-and-learn), 2024.
    """

    branches: Annotated[
        int, Field(ge=1, le=10_000, description="Continuations that a subtree's best leaf gets (M).")
    ] = 4

    name: ClassVar[str] = "diverse_verifier_tree_search"
    verifier: ClassVar[VerifierNeed] = "default"

    def width(self, samples: int, walk: Walk) -> int:
        """All of it, however many have finished: subtrees do not compete."""
        return samples

    async def share(self, walk: Walk, grown: Sequence[int], width: int) -> Mapping[int, int]:
        subtrees: dict[int, list[int]] = {}
        for node in grown:
            subtrees.setdefault((walk.tree.path(node)[0] - 1) // self.branches, []).append(node)
        best = [walk.best_first(leaves)[0] for leaves in subtrees.values()]
        going = walk.live(best)
        if not going:
            return {}
        return walk.selected(equal_shares(going, min(width, self.branches * len(going))))
