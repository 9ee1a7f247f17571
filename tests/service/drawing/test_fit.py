from service.drawing.fit import MOST_AT_A_DEPTH, MOST_DEPTHS, MOST_NODES, MOST_PANELS, fit
from service.drawing.model import PROMPT, Node, Panel


def chains(width: int, depth: int, iteration: int | None = None) -> Panel:
    """`width` paths side by side, the last one chosen and of the lowest score; all others pruned."""
    panel = Panel(iteration)
    for i in range(width * depth):
        parent = i + 1 - width if i >= width else PROMPT
        panel.nodes[i + 1] = Node(i + 1, parent, i // width + 1, 1, "", -i % width, False, given=0)
    panel.chosen = width * depth
    return panel


def test_what_is_small_stays_whole():
    panel = chains(4, 3)
    assert fit([panel]) == ([panel], [])


def test_wide_and_long_runs_lose_steps_but_not_the_chosen_path():
    panel = chains(1000, 12)
    (fitted,), (note,) = fit([panel])
    assert len(fitted.nodes) <= MOST_NODES
    assert [n.id for n in fitted.path()] == [n.id for n in panel.path()]
    assert all(n.parent in fitted.nodes or n.parent == PROMPT for n in fitted.nodes.values())
    assert max(sum(n.depth == d for n in fitted.nodes.values()) for d in range(1, 13)) <= MOST_AT_A_DEPTH
    assert (
        note
        == f"{12_000 - len(fitted.nodes):,} of 12,000 steps are left out: pruned ones and low scores first."
    )


def test_deep_runs_are_drawn_to_a_depth():
    (fitted,), notes = fit([chains(2, 5000)])
    assert len(fitted.path()) == MOST_DEPTHS
    assert f"Of 5,000 depths the first {MOST_DEPTHS} are drawn." in notes


def test_of_many_iterations_the_chosen_one_is_drawn():
    panels = [chains(2, 2, i) for i in range(1, 31)]
    for panel in panels[:-1]:
        panel.chosen = None
    fitted, notes = fit(panels)
    assert [panel.iteration for panel in fitted] == [*range(1, MOST_PANELS), 30]
    assert notes == ["22 of 30 iterations are left out."]
