"""The trees of a search, put together from the events of its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.drawing.model import PROMPT, Depth, Node, Panel


class TraceError(ValueError):
    """What cannot be drawn, as a sentence that names the place in the file."""


class Genealogy:
    """Panels grown event by event, one for each iteration. Raises TraceError where an event contradicts the others."""

    def __init__(self) -> None:
        self.panels: list[Panel] = []
        self.chose = False
        self.answer: str | None = None
        self._open: dict[int, Node] = {}
        """Nodes that the next selection decides on."""
        self._depth = 0
        """Of the nodes being added, counted within the iteration."""
        self._before = 0
        """Depths of the iterations before."""

    def grow(self, iteration: int | None, depth: int, kv_tokens: int) -> None:
        """Begin a depth; `add` its nodes next."""
        panel = self._panel(iteration, depth)
        self._depth = depth - self._before
        panel.depths.setdefault(self._depth, Depth()).grown = kv_tokens

    def add(
        self,
        place: str,
        *,
        node: int,
        parent: int,
        tokens: int,
        text: str,
        score: float | None,
        finished: bool,
    ) -> None:
        nodes = self.panels[-1].nodes
        if node in nodes:
            raise TraceError(f"{place}.node: {node} was given to another step before.")
        if parent != PROMPT and (above := self._find(f"{place}.parent", parent).depth) >= self._depth:
            raise TraceError(
                f"{place}.parent: {parent} stands at depth {above}, which is not above {self._depth}."
            )
        nodes[node] = self._open[node] = Node(node, parent, self._depth, tokens, text, score, finished)
        self._open.pop(parent, None)

    def select(
        self,
        place: str,
        iteration: int | None,
        depth: int,
        kept: Sequence[tuple[int, int]],
        kv_tokens: int,
        facts: Mapping[str, float | bool],
    ) -> None:
        """Note what is kept. Finished nodes compete only where a selection keeps some: else they are set aside."""
        panel = self._panel(iteration, depth)
        at = panel.depths.setdefault(depth - self._before, Depth())
        at.kept = kv_tokens
        at.facts.update(facts)
        given = {
            self._find(f"{place}.kept.{i}.0", id).id: count
            for i, (id, count) in enumerate(kept)
            if id != PROMPT
        }
        compete = "ess" in facts or any(panel.nodes[id].finished for id in given)
        for node in list(self._open.values()):
            if node.id not in given and (compete or not node.finished):
                node.given = 0
                del self._open[node.id]
        for id, count in given.items():
            panel.nodes[id].given = count
            self._open[id] = panel.nodes[id]

    def choose(self, place: str, iteration: int | None, node: int, answer: str | None) -> None:
        """The path to `node` is the answer; of nodes with that number the latest iteration's, where none is named."""
        for panel in reversed(self.panels):
            found = panel.nodes.get(node)
            if found and not found.recalled and iteration in (None, panel.iteration):
                for other in self.panels:
                    other.chosen = None
                panel.chosen = node
                self.chose, self.answer = True, answer
                return
        raise TraceError(f"{place}.node: {node} is no node.")

    def _panel(self, iteration: int | None, depth: int) -> Panel:
        """The iteration's panel; a new one begins at `depth`, since depths may count through all iterations."""
        if not self.panels or self.panels[-1].iteration != iteration:
            self.panels.append(Panel(iteration))
            self._open = {}
            self._before = depth - 1
        return self.panels[-1]

    def _find(self, place: str, id: int) -> Node:
        """A node by its number: of this iteration, else recalled, with the steps before it, from an earlier one."""
        nodes = self.panels[-1].nodes
        for panel in reversed(self.panels):
            node = panel.nodes.get(id)
            while node and node.id not in nodes:
                nodes[node.id] = replace(node, given=None, recalled=True)
                if node.parent in nodes and nodes[node.parent].depth >= node.depth:
                    raise TraceError(
                        f"{place}: {id} is an earlier iteration's, and its parent's number is used again."
                    )
                node = panel.nodes.get(node.parent)
            if id in nodes:
                return nodes[id]
        raise TraceError(f"{place}: {id} is no node.")
