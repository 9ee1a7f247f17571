"""The tree that a stepwise search grows: every path's steps, common beginnings held once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from engines.base import FinishReason, Sample
from verifiers.base import Response, Score, Step

ROOT = 0
"""The node of the prompt."""


@dataclass(slots=True)
class Node:
    """One step. `length` counts the tokens generated from the prompt up to its end; `finished` ends the response.

    `taken` characters before the step belong to the stop string that ended it.
    """

    parent: int
    tokens: tuple[int, ...]
    text: str
    length: int
    logprob: float | None
    finished: FinishReason | None = None
    score: Score = None
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A path: the prompt, the steps taken from it with their scores, and why it is finished (None: it is not)."""

    prompt: tuple[int, ...]
    steps: tuple[Node, ...]
    finished: FinishReason | None

    def response(self, content: str, answer: str | None) -> Response:
        """The path as a response; `length` is the finish reason of one that was cut."""
        return Response(
            self.sample, content, answer, tuple(Step(n.text, len(n.tokens), n.score) for n in self.steps)
        )

    @property
    def sample(self) -> Sample:
        spoken = [node for node in self.steps if node.tokens]
        known = [node.logprob for node in spoken if node.logprob is not None]
        *before, last = self.steps
        text = "".join(node.text for node in before)
        return Sample(
            text=text[: len(text) - last.taken] + last.text,
            tokens=tuple(chain.from_iterable(node.tokens for node in self.steps)),
            finish_reason=self.finished or "length",
            logprob=sum(known) if spoken and len(known) == len(spoken) else None,
        )


@dataclass(slots=True)
class SearchTree:
    """Nodes in the order in which they were made, the prompt's first; each holds its own step's tokens alone.

    `history` keeps, for every depth, the KV cache's tokens once the frontier had grown and once it was selected from.
    """

    prompt: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    history: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes.append(Node(ROOT, self.prompt, "", 0, None))

    def __getitem__(self, node: int) -> Node:
        return self.nodes[node]

    def add(self, parent: int, sample: Sample, text: str) -> int:
        """A step that continues `parent`; its node."""
        length = self.nodes[parent].length + len(sample.tokens)
        self.nodes.append(Node(parent, sample.tokens, text, length, sample.logprob))
        return len(self.nodes) - 1

    def path(self, node: int) -> list[int]:
        """The nodes from the first step to `node`."""
        path = []
        while node != ROOT:
            path.append(node)
            node = self.nodes[node].parent
        return path[::-1]

    def prefix(self, node: int) -> tuple[int, ...]:
        """The token ids from the prompt's first to the last of `node`: exactly what was read and generated."""
        return self.prompt + tuple(chain.from_iterable(self.nodes[step].tokens for step in self.path(node)))

    def tail(self, node: int, characters: int) -> str:
        """The last `characters` of the text of the path to `node`, or all of it."""
        tail = ""
        while node != ROOT and len(tail) < characters:
            tail = self.nodes[node].text + tail
            node = self.nodes[node].parent
        return tail[max(0, len(tail) - characters) :]

    def trajectory(self, node: int) -> Trajectory:
        return Trajectory(
            self.prompt, tuple(self.nodes[step] for step in self.path(node)), self.nodes[node].finished
        )

    def held(self, leaves: Iterable[int]) -> set[int]:
        """The distinct nodes on the paths to `leaves`, the prompt's included."""
        held = {ROOT}
        for node in leaves:
            while node not in held:
                held.add(node)
                node = self.nodes[node].parent
        return held

    def kv_tokens(self, leaves: Iterable[int]) -> int:
        """Tokens that the KV cache holds for `leaves`: those of every distinct node on their paths, the prompt once."""
        return sum(len(self.nodes[node].tokens) for node in self.held(leaves))
