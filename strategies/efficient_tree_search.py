"""Efficient tree search (ETS): leaves kept for their reward, for what they share in the KV cache, for diversity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies.base import VerifierNeed
from strategies.clustering import cluster_texts, cluster_vectors
from strategies.recording import JournalMismatch
from strategies.selection import Selectable, Selection, rebase_counts, select
from strategies.stepping import Walk
from strategies.tree import ROOT
from strategies.tree_search import TreeSearch

SELECT_SECONDS = 2.0
"""After this long the greedy selection stands."""


@dataclass(frozen=True, slots=True)
class EfficientTreeSearch(TreeSearch):
    """Each depth keeps the leaves S that maximise Σ w − λb·cost(V_S)/cost(V) + λd·|C_S|/|C|, and shares as REBASE does.

    w is a leaf's share of the width by REBASE; V are all leaves and what lies above them, V_S those of S; C are the
    clusters of last steps: by embeddings (average linkage, cosine distance 0.05) where an embedding server is
    configured, else by equal text. By text nearly all steps differ, and every leaf would be kept for that: so λd is 0
    there unless it is given. `node_cost: tokens` counts what the KV cache holds; `count` every node alike, as
    the paper does. Solved exactly as an integer program; where that takes over 2 seconds the greedy solution stands,
    and a warning says so.

    Cost: N samples; one engine call and one verifier call a step. Source: ETS, Hooper et al. 2502.13575, equation 4;
    REBASE, 2408.00724.
    """

    temperature: Annotated[
        float, Field(gt=0, le=1e6, description="T of REBASE's softmax, in units of reward.")
    ] = 0.2
    cost_weight: Annotated[
        float, Field(ge=0, le=1e6, description="λb: weight of the KV cache that is kept.")
    ] = 1.0
    diversity_weight: Annotated[
        float | None,
        Field(ge=0, le=1e6, description="λd: weight of the clusters kept; null: 1 with embeddings, else 0."),
    ] = None
    node_cost: Annotated[
        Literal["tokens", "count"], Field(description="What a node costs: its tokens, or one.")
    ] = "tokens"

    name: ClassVar[str] = "efficient_tree_search"
    verifier: ClassVar[VerifierNeed] = "default"

    async def share(self, walk: Walk, grown: Sequence[int], width: int) -> Mapping[int, int]:
        leaves = walk.live(grown)
        weights = [count / width for count in rebase_counts(walk.scores(leaves), width, self.temperature)]
        clusters, weight = await self._clusters(walk, leaves)
        problem = Selectable(
            parents=[None if node == ROOT else step.parent for node, step in enumerate(walk.tree.nodes)],
            costs=[len(step.tokens) if self.node_cost == "tokens" else 1 for step in walk.tree.nodes],
            leaves=leaves,
            weights=weights,
            clusters=clusters,
            cost_weight=self.cost_weight,
            diversity_weight=weight,
        )
        selecting = partial(asyncio.to_thread, select, problem, SELECT_SECONDS)
        selection = await walk.search.settled(selecting, Selection)
        if not set(selection.leaves) <= set(leaves):
            raise JournalMismatch("a selection keeps leaves that there were not")
        if not selection.proven:
            walk.search.warn(f"Selecting leaves took over {SELECT_SECONDS:g} s, so a greedy choice stood in.")
        kept = list(selection.leaves)
        counts = rebase_counts(walk.scores(kept), width, self.temperature)
        facts = {"objective": selection.objective, "proven": selection.proven}
        return walk.selected(dict(zip(kept, counts, strict=True)), **facts)

    async def _clusters(self, walk: Walk, leaves: Sequence[int]) -> tuple[list[int], float]:
        """The leaves' clusters, and what covering all of them is worth."""
        texts = [walk.tree[leaf].text for leaf in leaves]
        vectors = None if self.diversity_weight == 0 else await walk.search.embed(texts)
        if vectors is None:
            return cluster_texts(texts), self.diversity_weight or 0.0
        clusters = await asyncio.to_thread(cluster_vectors, vectors)
        return clusters, 1.0 if self.diversity_weight is None else self.diversity_weight
