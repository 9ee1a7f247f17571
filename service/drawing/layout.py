"""Where nodes go: a column for each depth, and rows in which no two edges cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.drawing.model import PROMPT, Node, Panel

SWEEPS: Final = 12
PULL: Final = 25.0
"""How much straighter the chosen path runs than others: the weight of its edges against theirs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of nodes, the prompt's included, from 0 to `breadth` − 1; neighbours in a column are at least 1 apart."""

    rows: Mapping[int, float]
    breadth: int


def lay_out(panel: Panel) -> Layout:
    """Rows for a panel's nodes, in time linear in their number.

    Nodes of a depth stand in the order of their parents, so that edges between neighbouring depths do not cross.
    Depth by depth, forth and back, each column then takes the rows that make the squares of its edges' heights least
    under that order: isotonic regression, which pooling adjacent violators solves exactly.
    """
    children: dict[int, list[int]] = {PROMPT: []}
    for node in panel.nodes.values():
        children.setdefault(node.parent, []).append(node.id)
    columns: dict[int, list[Node]] = {depth: [] for depth in sorted({n.depth for n in panel.nodes.values()})}
    for id in _preorder(children):
        columns[panel.nodes[id].depth].append(panel.nodes[id])
    breadth = max(map(len, columns.values()), default=1)
    path = {node.id for node in panel.path()}
    rows = dict.fromkeys((PROMPT, *panel.nodes), (breadth - 1) / 2)
    order = list(columns.values())
    for sweep in range(SWEEPS):
        for column in order if sweep % 2 == 0 else reversed(order):
            _settle(column, rows, children, path, breadth, ahead=sweep > 0)
    top = children[PROMPT]
    if top:
        rows[PROMPT] = sum(rows[id] for id in top) / len(top)
    return Layout(rows, breadth)


def _preorder(children: Mapping[int, Sequence[int]]) -> list[int]:
    """Nodes below the prompt, each before its children and these in the order made."""
    found, waiting = [], list(reversed(children[PROMPT]))
    while waiting:
        id = waiting.pop()
        found.append(id)
        waiting.extend(reversed(children.get(id, ())))
    return found


def _settle(
    column: Sequence[Node],
    rows: dict[int, float],
    children: Mapping[int, Sequence[int]],
    path: set[int],
    breadth: int,
    ahead: bool,
) -> None:
    """Move a column to the best rows, given its parents' and, once these have been placed, its children's."""
    wanted, weights = [], []
    for node in column:
        pulls = [(rows[node.parent], PULL if node.id in path else 1.0)]
        if ahead:
            pulls += [(rows[child], PULL if child in path else 1.0) for child in children.get(node.id, ())]
        weight = sum(w for _, w in pulls)
        wanted.append(sum(row * w for row, w in pulls) / weight)
        weights.append(weight)
    for node, row in zip(column, spaced(wanted, weights, breadth), strict=True):
        rows[node.id] = row


def spaced(wanted: Sequence[float], weights: Sequence[float], breadth: int) -> list[float]:
    """The rows nearest to those `wanted` (weighted least squares) that rise by at least 1 and lie in [0, breadth − 1].

    Pool adjacent violators (Ayer et al. 1955), on what is left of the rows after taking 1 off for each one before.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, size
    for i, (row, weight) in enumerate(zip(wanted, weights, strict=True)):
        mean, size = row - i, 1
        while blocks and blocks[-1][0] >= mean:
            last, heavy, many = blocks.pop()
            mean = (last * heavy + mean * weight) / (heavy + weight)
            weight, size = heavy + weight, size + many
        blocks.append((mean, weight, size))
    slack = breadth - len(wanted)
    free = [min(max(mean, 0.0), slack) for mean, _, size in blocks for _ in range(size)]
    return [row + i for i, row in enumerate(free)]
