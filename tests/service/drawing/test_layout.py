from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drawing.layout import lay_out, spaced
from service.drawing.model import PROMPT, Node, Panel


@st.composite
def panels(draw) -> Panel:
    """Trees of some depths, every node a child of any of the depth before."""
    panel, above = Panel(), [PROMPT]
    for depth in range(1, draw(st.integers(1, 6)) + 1):
        parents = draw(st.lists(st.sampled_from(above), min_size=1, max_size=12))
        above = []
        for parent in parents:
            id = len(panel.nodes) + 1
            panel.nodes[id] = Node(id, parent, depth, 1, "", None, False)
            above.append(id)
    panel.chosen = draw(st.sampled_from([None, *panel.nodes]))
    return panel


@given(panels())
def test_marks_of_a_depth_are_apart_within_the_height_and_edges_do_not_cross(panel):
    layout = lay_out(panel)
    for depth in {node.depth for node in panel.nodes.values()}:
        column = sorted(
            (n for n in panel.nodes.values() if n.depth == depth), key=lambda n: layout.rows[n.id]
        )
        rows = [layout.rows[n.id] for n in column]
        assert all(after - before > 1 - 1e-9 for before, after in pairwise(rows))
        assert -1e-9 <= rows[0] <= rows[-1] <= layout.breadth - 1 + 1e-9
        parents = [layout.rows[n.parent] for n in column]
        assert parents == sorted(parents)


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0.1, 10)), min_size=1, max_size=8), st.integers(0, 5))
def test_rows_are_the_nearest_that_are_apart(wanted, slack):
    rows = spaced([row for row, _ in wanted], [weight for _, weight in wanted], len(wanted) + slack)
    assert all(after - before > 1 - 1e-9 for before, after in pairwise(rows))

    def cost(moved):
        return sum(weight * (row - at) ** 2 for (row, weight), at in zip(wanted, moved, strict=True))

    for i in range(len(rows)):  # the problem is convex: no small move of neighbours together may be better
        for j in range(i + 1, len(rows) + 1):
            for step in (-1e-3, 1e-3):
                moved = [row + step if i <= k < j else row for k, row in enumerate(rows)]
                inside = moved[0] >= 0 and moved[-1] <= len(rows) + slack - 1
                if inside and all(after - before >= 1 for before, after in pairwise(moved)):
                    assert cost(moved) >= cost(rows) - 1e-9


def test_children_stand_around_their_parent():
    assert spaced([2.0, 2.0, 2.0], [1, 1, 1], 5) == pytest.approx([1, 2, 3])
    assert spaced([0.0, 0.0], [1, 1], 5) == pytest.approx([0, 1])
