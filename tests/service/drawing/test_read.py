import json

import pytest

from service.drawing import TraceError, read
from service.drawing.model import Panel
from tests.service.drawing.traces import SMALL, candidate, chosen, node, outcome, select, steps


def panels(trace) -> list[Panel]:
    return list(read(json.dumps(trace).encode()).panels)


def pruned(panel: Panel) -> set[int]:
    return {node.id for node in panel.nodes.values() if node.pruned}


def test_a_search_is_read_with_what_was_pruned_and_chosen():
    (panel,) = panels(SMALL)
    assert pruned(panel) == {1, 5}
    assert [node.id for node in panel.path()] == [2, 3, 6]
    assert panel.nodes[2].given == 3
    assert [(d.grown, d.kept) for d in panel.depths.values()] == [(120, 110), (140, 120), (130, None)]


def test_finished_particles_stay_until_a_selection_loses_them():
    trace = [
        steps(1, node(1, finished=True), node(2, finished=True), node(3)),
        select(1, [1, 1], [2, 1], [3, 1], ess=2.5, temperature=1.0),
        steps(2, node(4, 3)),
        select(2, [2, 2], [4, 1], ess=1.5),
        chosen(2),
    ]
    (panel,) = panels(trace)
    assert pruned(panel) == {1}
    assert panel.nodes[2].given == 2
    assert panel.depths[1].facts == {"ess": 2.5, "temperature": 1.0}


def test_iterations_of_particle_gibbs_are_apart_and_recall_the_reference():
    trace = [
        steps(1, node(1), node(2), iteration=1),
        select(1, [1, 2], iteration=1),
        steps(2, node(3, 1, finished=True), iteration=1),
        steps(3, node(4), kv=33, iteration=2),
        select(3, [1, 1], [4, 1], iteration=2),
        steps(4, node(5, 1), node(6, 4), iteration=2),
        select(4, [3, 1], [5, 1], kv=44, iteration=2),
        chosen(3),
    ]
    first, second = panels(trace)
    assert [node.depth for node in second.nodes.values()] == [1, 1, 2, 2, 2]
    assert {depth: (d.grown, d.kept) for depth, d in second.depths.items()} == {1: (33, 60), 2: (100, 44)}
    assert (first.iteration, second.iteration) == (1, 2)
    assert {n.id for n in second.nodes.values() if n.recalled} == {1, 3}
    assert pruned(second) == {6}
    assert (first.chosen, second.chosen) == (3, None)


def test_numbers_used_again_in_an_iteration_are_its_own():
    trace = [
        steps(1, node(1, score=0.1), iteration=1),
        steps(1, node(1, score=0.2), iteration=2),
        chosen(1, iteration=1),
    ]
    first, second = panels(trace)
    assert (first.chosen, second.chosen) == (1, None)
    assert panels([*trace[:2], chosen(1)])[1].chosen == 1


def test_the_header_says_what_was_spent():
    run = read(json.dumps(outcome(candidate("7"), candidate(), trace=SMALL)).encode())
    assert run.title == "best_of_n: 42"
    assert list(run.facts) == ["m", "4 samples", "2,048 tokens", "1.25 s", "verifier prm"]
    assert read(json.dumps(outcome(candidate(None))).encode()).title == "best_of_n: no answer"


def test_a_bare_trace_has_what_can_be_known_of_it():
    run = read(json.dumps(SMALL).encode())
    assert run.title == "A search: 42"
    assert list(run.facts) == ["6 steps", "60 tokens in them", "1.50 s"]


def test_other_events_and_more_fields_are_passed_over():
    more = [{"event": "sample", "at": 0.1, "n": 4}, {"event": "new"}, select(1, [1, 1], why="luck")]
    assert len(panels([steps(1, node(1)), *more])) == 1


def test_scores_that_are_no_numbers_are_missing():
    data = b'[{"event":"steps","depth":1,"kv_tokens":1,"nodes":[%s,%s]}]'
    entry = '{"node":%d,"parent":0,"tokens":1,"text":"","score":%s,"finished":false}'
    run = read(data % ((entry % (1, "NaN")).encode(), (entry % (2, "1e999")).encode()))
    assert [node.score for node in run.panels[0].nodes.values()] == [None, None]


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ([steps(1, node(1, parent=99))], "trace.0.nodes.0.parent: 99 is no node."),
        ([steps(1, node(1)), steps(1, node(2, 1))], "trace.1.nodes.0.parent: 1 stands at depth 1"),
        ([steps(1, node(1), node(1))], "trace.0.nodes.1.node: 1 was given to another step before."),
        ([steps(1, node(0))], "trace.0.nodes.0.node: Expected `int` >= 1."),
        (
            [steps(1, node(1) | {"score": "high"})],
            "trace.0.nodes.0.score: Expected `float | null`, got `str`.",
        ),
        ([steps(1, {"node": 1})], "trace.0.nodes.0: Object missing required field `parent`."),
        ([steps(1, node(1)), select(1, [7, 1])], "trace.1.kept.0.0: 7 is no node."),
        ([steps(1, node(1)), select(1, [1])], "trace.1.kept.0: Expected `array` of length 2"),
        ([steps(1, node(1)), select(1, [1, -1])], "trace.1.kept.0.1: Expected `int` >= 0."),
        ([steps(1, node(1)), chosen(2)], "trace.1.node: 2 is no node."),
        ([steps(1, node(1), kv=10**30)], "trace.0.kv_tokens: Expected `int` <= "),
        ([7], "trace.0: Expected `object`, got `int`."),
        ([{"at": 1}], "trace.0: Object missing required field `event`."),
        ([], "holds no step of a search"),
        ({}, "This is no outcome of /v1/scale: Object missing required field `scaling`."),
        (outcome() | {"trace": {}}, "trace: Expected `array`, got `object`."),
        (outcome(), "neither a step of a search nor a candidate"),
        ("text", "This is no outcome of /v1/scale"),
        ({"error": {"message": "There is no model 'x'."}}, "There is no model 'x'."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(trace, says):
    with pytest.raises(TraceError) as refused:
        read(json.dumps(trace).encode())
    assert says in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[%s]" % (b"9" * 5000)])
def test_what_is_no_json_is_told_so(data):
    with pytest.raises(TraceError, match="This is no JSON"):
        read(data)


def test_an_earlier_iteration_s_step_whose_parent_s_number_is_used_again_is_refused():
    trace = [
        steps(1, node(1), iteration=1),
        steps(2, node(2, 1), iteration=1),
        steps(1, node(8), iteration=2),
        steps(3, node(1, 8), iteration=2),
        select(3, [2, 1], iteration=2),
    ]
    with pytest.raises(TraceError, match="its parent's number is used again"):
        panels(trace)
