"""What is drawn: a run as plain values, whatever strategy made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

PROMPT: Final = 0
"""The node that every path begins at."""


@dataclass(slots=True)
class Node:
    """A step: a node of a search tree, or a particle's step.

    `given` is how many continuations (or particles) the latest selection gave it, None where none decided on it.
    `recalled` says that an earlier iteration made it and this one only refers to it.
    """

    id: int
    parent: int
    depth: int
    tokens: int
    text: str
    score: float | None
    finished: bool
    given: int | None = None
    recalled: bool = False

    @property
    def pruned(self) -> bool:
        return self.given == 0


@dataclass(slots=True)
class Depth:
    """KV tokens on the frontier of one depth after growing and after selection, and what the strategy said of it."""

    grown: int | None = None
    kept: int | None = None
    facts: dict[str, float | bool] = field(default_factory=dict)


@dataclass(slots=True)
class Panel:
    """One tree: a whole search, or one iteration of particle Gibbs. `chosen` is the answer's node, if it is here."""

    iteration: int | None = None
    nodes: dict[int, Node] = field(default_factory=dict)
    depths: dict[int, Depth] = field(default_factory=dict)
    chosen: int | None = None

    def levels(self) -> list[int]:
        """All depths at which there is something to draw."""
        return sorted({*self.depths, *(node.depth for node in self.nodes.values())})

    def path(self) -> list[Node]:
        """The nodes that lead to the chosen one, from the first step on."""
        path = []
        node = self.nodes.get(self.chosen) if self.chosen is not None else None
        while node:
            path.append(node)
            node = self.nodes.get(node.parent)
        return path[::-1]


@dataclass(frozen=True, slots=True)
class Response:
    """A finished response of a run that did not search."""

    text: str
    answer: str | None
    score: float | None
    votes: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run to be drawn: what its header says, its trees if it searched, its responses best first."""

    title: str
    facts: Sequence[str]
    warnings: Sequence[str]
    panels: Sequence[Panel]
    responses: Sequence[Response]
