"""A tree of gains and prizes, reduced: what of it is surely in the best part or out of it, and what is left to decide.

Each reduction leaves at least one best part. They are those known for prize-collecting Steiner trees and for set
covering (sole carriers, dominance), for a rooted tree with prizes that several nodes may earn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from time import monotonic


@dataclass(frozen=True, slots=True)
class PrizeTree:
    """Nodes in an order that puts parents first; node 0 is the root, and stands as its own parent.

    A part of the tree is a set of nodes that holds the parents of its nodes. It is worth its nodes' `gains` (what a
    node brings, less what it costs), and `prize` (0 or more) for each cluster that any of its nodes carries.
    """

    parents: list[int]
    gains: list[float]
    clusters: list[set[int]]
    prize: float

    def children(self) -> list[list[int]]:
        """The children of every node."""
        found: list[list[int]] = [[] for _ in self.parents]
        for node in range(1, len(found)):
            found[self.parents[node]].append(node)
        return found

    def bounds(self) -> list[float]:
        """For each node, a worth that no part of the tree below it, itself included, exceeds."""
        bounds = [gain + self.prize * len(held) for gain, held in zip(self.gains, self.clusters, strict=True)]
        for node in range(len(bounds) - 1, 0, -1):
            if bounds[node] > 0:
                bounds[self.parents[node]] += bounds[node]
        return bounds

    def path_gains(self) -> list[float]:
        """For each node, the gains of all nodes from the root to it."""
        gains = self.gains.copy()
        for node in range(1, len(gains)):
            gains[node] += gains[self.parents[node]]
        return gains

    def worth(self, part: set[int]) -> float:
        """What a part is worth."""
        carried = set().union(*(self.clusters[node] for node in part))
        return fsum(self.gains[node] for node in part) + self.prize * len(carried)


class Core:
    """What is left to decide of the tree under `root`, which is in the part itself.

    `live` are the undecided nodes, parents first. A node that is no longer live was merged into another, and is in
    where that one is; or it was dropped, which is to be merged into `nowhere`.
    """

    def __init__(self, tree: PrizeTree, root: int) -> None:
        self.root = root
        self.prize = tree.prize
        self.parents = tree.parents.copy()
        self.gains = tree.gains.copy()
        self.clusters = [held.copy() for held in tree.clusters]
        self.nowhere = len(self.parents)
        self.into = list(range(self.nowhere + 1))
        inside = {root}
        self.live: list[int] = []
        for node in range(root + 1, self.nowhere):
            if self.parents[node] in inside:
                inside.add(node)
                self.live.append(node)

    def reduce(self, deadline: float) -> None:
        """Reduce until nothing more is found, or `deadline` (of the monotonic clock) passes, but once at least."""
        size = -1
        while self.live and size != (size := self._size()):
            self._drop_repeated_prizes()
            self._give_sole_prizes()
            self._fold()
            self._drop_dominated()
            if monotonic() >= deadline:
                break

    def _size(self) -> int:
        return len(self.live) + sum(len(self.clusters[node]) for node in self.live)

    def carriers(self) -> dict[int, list[int]]:
        """The live nodes that carry each cluster."""
        found: dict[int, list[int]] = {}
        for node in self.live:
            for cluster in self.clusters[node]:
                found.setdefault(cluster, []).append(node)
        return found

    def _drop_repeated_prizes(self) -> None:
        """A node adds nothing by carrying what one above it carries."""
        above: dict[int, set[int]] = {self.root: self.clusters[self.root]}
        for node in self.live:
            inherited, held = above.get(self.parents[node]), self.clusters[node]
            if inherited:
                held -= inherited
                above[node] = inherited | held
            elif held:
                above[node] = held

    def _give_sole_prizes(self) -> None:
        """The prize for a cluster that one node carries is a gain of that node."""
        for cluster, nodes in self.carriers().items():
            if len(nodes) == 1:
                self.gains[nodes[0]] += self.prize
                self.clusters[nodes[0]].discard(cluster)

    def _fold(self) -> None:
        """Drop what would not pay even with every prize below it, and merge what is in or out together.

        A node with a gain is in where its parent is: it becomes a part of its parent. A node that costs, carries
        nothing and has one child is in only for that child: it becomes a part of it.
        """
        parents, gains, clusters, into = self.parents, self.gains, self.clusters, self.into
        below = [0.0] * self.nowhere  # bounds on what the live children add
        branches = [0] * self.nowhere
        last = [0] * self.nowhere
        for node in reversed(self.live):
            parent = parents[node]
            bound = below[node] + gains[node] + self.prize * len(clusters[node])
            if bound <= 0:
                into[node] = self.nowhere
            elif gains[node] > 0:
                gains[parent] += gains[node]
                clusters[parent] |= clusters[node]
                below[parent] += below[node]
                branches[parent] += branches[node]
                last[parent] = last[node] or last[parent]
                into[node] = parent
            else:
                below[parent] += bound
                branches[parent] += 1
                last[parent] = node
                if branches[node] == 1 and not clusters[node]:
                    child = last[node]
                    gains[child] += gains[node]
                    parents[child] = parent
                    last[parent] = child
                    into[node] = child
        self._settle()

    def _settle(self) -> None:
        """Find the live nodes and their parents anew, after merging and dropping."""
        live = []
        for node in self.live:
            if self.into[node] == node:
                parent = self.parents[node]
                while self.into[parent] != parent:
                    parent = self.into[parent]
                if parent == self.nowhere:
                    self.into[node] = self.nowhere
                else:
                    self.parents[node] = parent
                    live.append(node)
        self.live = live

    def _drop_dominated(self) -> None:
        """Drop a leaf that carries one cluster where another carrier never costs more.

        Another one costs at most its whole path, up to where it meets the leaf's. Of equals the earliest stays.
        """
        inner = {self.parents[node] for node in self.live}
        for nodes in self.carriers().values():
            leaves = [node for node in nodes if node not in inner and len(self.clusters[node]) == 1]
            if len(nodes) == 1 or not leaves:
                continue
            enough = min(self.gains[node] for node in leaves)
            ways: dict[int, list[tuple[float, int]]] = {}
            for node in nodes:
                for ancestor, path in self._paths(node, enough):
                    best = ways.setdefault(ancestor, [])
                    best.append((path, -node))
                    if len(best) > 2:  # a leaf's own, and the best other
                        best.remove(min(best))
            for leaf in leaves:
                own = (self.gains[leaf], -leaf)
                others = (way for above, _ in self._paths(leaf) for way in ways.get(above, ()))
                if any(way > own for way in others if way[1] != -leaf):
                    self.into[leaf] = self.nowhere
        self.live = [node for node in self.live if self.into[node] == node]

    def _paths(self, node: int, enough: float = float("-inf")) -> Iterator[tuple[int, float]]:
        """Each node above `node`, and what the path from there to `node` gains, as long as that is `enough`."""
        path = self.gains[node]
        while node != self.root and path >= enough:
            node = self.parents[node]
            yield node, path
            path += self.gains[node]

    def closed(self, nodes: list[int]) -> set[int]:
        """The smallest part of the live nodes with `nodes` in it."""
        part: set[int] = set()
        for node in nodes:
            while node != self.root and node not in part:
                part.add(node)
                node = self.parents[node]
        return part

    def worth(self, part: set[int]) -> float:
        """What a part of the live nodes adds to the root's worth."""
        carried = set().union(*(self.clusters[node] for node in part)) - self.clusters[self.root]
        return fsum(self.gains[node] for node in part) + self.prize * len(carried)

    def restored(self, part: set[int]) -> set[int]:
        """All nodes of the tree that are in where the live nodes of `part` are."""
        whole = {self.root}
        for node in range(self.root + 1, self.nowhere):
            held = node
            while self.into[held] != held:
                held = self.into[held]
            if held == self.root or held in part:
                whole.add(node)
        return whole
