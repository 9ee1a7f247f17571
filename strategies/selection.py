"""Which leaves of a search tree go on: REBASE's shares of the width, and ETS's choice of what is worth its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, exp, fsum
from time import monotonic

import msgspec

from strategies.selection_program import best_part
from strategies.selection_reduction import PrizeTree


def rebase_counts(scores: Sequence[float], width: int, temperature: float) -> list[int]:
    """How many continuations each leaf gets, in leaf order: shares of `width` by softmax(score / temperature), in whole
    numbers that add up to `width`.

    From the highest score down (of equals the earlier leaf first), each leaf gets the ceiling of its share of what is
    left, so that low scores may get nothing; a higher score never gets less. Scores must be finite, `temperature` above
    0, `width` 0 or more. No scores: no counts. Source: REBASE, arXiv 2408.00724.
    """
    counts = [0] * len(scores)
    order = sorted(range(len(scores)), key=lambda leaf: -scores[leaf])
    shares = [exp((scores[leaf] - scores[order[0]]) / temperature) for leaf in order]
    left = list(shares)  # the sum of this share and all later ones, added up from the smallest
    for place in range(len(left) - 2, -1, -1):
        left[place] += left[place + 1]
    for place, leaf in enumerate(order):
        if width == 0:
            break
        # A share that is a whole number may come out just above it.
        counts[leaf] = min(width, ceil(width * shares[place] / left[place] - 1e-9))
        width -= counts[leaf]
    return counts


@dataclass(frozen=True, slots=True)
class Selectable:
    """A search tree to choose leaves of. A set S of them is worth

        sum of weights of S - cost_weight * cost(V_S) / cost(V) + diversity_weight * |C_S| / |C|

    where V_S are the leaves in S and all their ancestors, the root among them, V the same for all of `leaves`, C_S
    and C the clusters of these leaves. The paper's names of the two weights are λb and λd.

    `parents` (None for the root) and `costs` have a value for each node; nodes that lead to none of `leaves` do not
    count. `leaves` are distinct nodes; one above another is chosen with it. `weights` and `clusters` are in
    their order. All numbers are finite, and 0 or more.
    """

    parents: Sequence[int | None]
    costs: Sequence[float]
    leaves: Sequence[int]
    weights: Sequence[float]
    clusters: Sequence[int]
    cost_weight: float
    diversity_weight: float

    def paths(self, leaves: Iterable[int]) -> list[int]:
        """`leaves` and all their ancestors, each once, parents before children."""
        found: dict[int, None] = {}
        for leaf in leaves:
            path = []
            node: int | None = leaf
            while node is not None and node not in found:
                path.append(node)
                node = self.parents[node]
            found.update(dict.fromkeys(reversed(path)))
        return list(found)

    def cost(self, leaves: Iterable[int]) -> float:
        """cost(V_S) of the leaves S."""
        return fsum(self.costs[node] for node in self.paths(leaves))

    def objective(self, leaves: Iterable[int]) -> float:
        """What the set of `leaves` is worth."""
        chosen = set(leaves)
        places = [place for place, leaf in enumerate(self.leaves) if leaf in chosen]
        covered = len({self.clusters[place] for place in places}) / len(set(self.clusters))
        whole = self.cost(self.leaves)
        share = self.cost(chosen) / whole if whole else 0.0
        weight = fsum(self.weights[place] for place in places)
        return weight - self.cost_weight * share + self.diversity_weight * covered


class Selection(msgspec.Struct, frozen=True):
    """The chosen leaves in ascending order, what they are worth, and whether that is proven to be the most."""

    leaves: tuple[int, ...]
    objective: float
    proven: bool


def select(problem: Selectable, seconds: float) -> Selection:
    """The leaves, one at least, that are worth most together; of equals always the same.

    After about `seconds` the best found so far stands, unproven: no worse than the best leaf alone or than a greedy
    choice. It blocks, so call it in a thread; several threads may. Raises ValueError where there are no leaves.
    Source: ETS, arXiv 2502.13575.
    """
    if not problem.leaves:
        raise ValueError("leaves is empty: a selection needs one leaf at least")
    deadline = monotonic() + seconds
    tree, leaf_of = _prize_tree(problem)
    best, proven = best_part(tree, deadline)
    chosen = sorted(leaf_of[node] for node in best if node in leaf_of)
    if not proven:
        nearest = leaf_of[max(leaf_of, key=tree.path_gains().__getitem__)]
        alone = sorted(set(problem.paths([nearest])) & set(problem.leaves))
        chosen = max(chosen, alone, key=problem.objective) if chosen else alone
    return Selection(tuple(chosen), problem.objective(chosen), proven)


def _prize_tree(problem: Selectable) -> tuple[PrizeTree, dict[int, int]]:
    """The problem as a tree of gains and prizes, and the leaf that a node of that tree stands for.

    A node with one child is in or out with that child, so the child bears its cost and takes its place.
    """
    nodes = problem.paths(problem.leaves)
    whole = fsum(problem.costs[node] for node in nodes)
    unit = problem.cost_weight / whole if whole else 0.0
    leaves = {leaf: place for place, leaf in enumerate(problem.leaves)}
    branches = Counter(problem.parents[node] for node in nodes)
    tree = PrizeTree([], [], [], problem.diversity_weight / len(set(problem.clusters)))
    leaf_of = {}
    # Of each node, or of the next one above that has a place: its place, and the costs since there.
    above: dict[int | None, tuple[int, float]] = {None: (0, 0.0)}
    for node in nodes:
        parent = problem.parents[node]
        place, cost = above[parent]
        cost += problem.costs[node]
        if branches[node] == 1 and parent is not None and node not in leaves:
            above[node] = place, cost
            continue
        tree.parents.append(place)
        tree.gains.append(-unit * cost)
        tree.clusters.append(set())
        above[node] = len(tree.gains) - 1, 0.0
        if node in leaves:
            leaf_of[len(tree.gains) - 1] = node
            tree.gains[-1] += problem.weights[leaves[node]]
            tree.clusters[-1].add(problem.clusters[leaves[node]])
    return tree, leaf_of
