"""Runs of any size, brought to a size that can be looked at; what is left out is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from service.drawing.model import Node, Panel

MOST_PANELS: Final = 8
MOST_DEPTHS: Final = 128
MOST_AT_A_DEPTH: Final = 160
MOST_NODES: Final = 2_000
"""Of all panels together."""


def fit(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Panels small enough to draw, and a sentence for each kind of thing that is left out.

    The chosen path stays; then finished nodes, then kept ones, then pruned ones, the highest scores first.
    """
    notes = []
    shown = list(panels)
    if len(panels) > MOST_PANELS:
        first = sorted(range(len(panels)), key=lambda i: (panels[i].chosen is None, i))[:MOST_PANELS]
        shown = [panels[i] for i in sorted(first)]
        notes.append(f"{len(panels) - MOST_PANELS} of {len(panels)} iterations are left out.")
    share = MOST_NODES // max(len(shown), 1)
    fitted = [_fewer(_shallower(panel), share) for panel in shown]
    deepest = max((len(panel.levels()) for panel in shown), default=0)
    if deepest > MOST_DEPTHS:
        notes.append(f"Of {deepest:,} depths the first {MOST_DEPTHS} are drawn.")
    whole, drawn = (sum(len(panel.nodes) for panel in some) for some in (shown, fitted))
    if drawn < whole:
        notes.append(f"{whole - drawn:,} of {whole:,} steps are left out: pruned ones and low scores first.")
    return fitted, notes


def _shallower(panel: Panel) -> Panel:
    depths = panel.levels()[:MOST_DEPTHS]
    within = set(depths)
    nodes = {node.id: node for node in panel.nodes.values() if node.depth in within}
    chosen = panel.chosen
    if chosen is not None and chosen not in nodes:
        chosen = next((node.id for node in reversed(panel.path()) if node.id in nodes), None)
    known = {depth: panel.depths[depth] for depth in depths if depth in panel.depths}
    return replace(panel, nodes=nodes, depths=known, chosen=chosen)


def _fewer(panel: Panel, most: int) -> Panel:
    """The panel with at most `most` nodes, parents before children; depths with many nodes lose some first."""
    sizes = Counter(node.depth for node in panel.nodes.values()).values()
    room = next(at for at in range(MOST_AT_A_DEPTH, 0, -1) if sum(min(size, at) for size in sizes) <= most)
    path = {node.id for node in panel.path()}

    def rank(node: Node) -> tuple[bool, bool, bool, float, int]:
        score = float("-inf") if node.score is None else node.score
        return node.id not in path, not node.finished, node.pruned, -score, node.id

    stays: set[int] = set()
    at_depth: Counter[int] = Counter()
    for node in sorted(panel.nodes.values(), key=rank):
        missing: list[Node] = []
        above: Node | None = node
        while above and above.id not in stays:
            missing.append(above)
            above = panel.nodes.get(above.parent)
        if all(at_depth[n.depth] < room for n in missing):
            stays.update(n.id for n in missing)
            at_depth.update(n.depth for n in missing)
    return replace(panel, nodes={id: node for id, node in panel.nodes.items() if id in stays})
