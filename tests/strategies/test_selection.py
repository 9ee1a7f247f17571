from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.selection import Selectable, Selection, rebase_counts, select
from tests.reference import cases

LONG = 60.0


def problem_of(inputs: dict[str, Any]) -> Selectable:
    counts = rebase_counts(inputs["scores"], inputs["width"], inputs["temperature"])
    return Selectable(
        parents=inputs["parents"],
        costs=[1.0] * len(inputs["parents"]),
        leaves=inputs["leaves"],
        weights=[count / inputs["width"] for count in counts],
        clusters=inputs["clusters"],
        cost_weight=inputs["lambda_b"],
        diversity_weight=inputs["lambda_d"],
    )


ALL_KINDS = [case for kind in ("small", "tied_scores", "large") for case in cases("ets_selection.json", kind)]
SMALL_KINDS = [case for kind in ("small", "tied_scores") for case in cases("ets_selection.json", kind)]


@pytest.mark.parametrize(("inputs", "outputs"), ALL_KINDS)
def test_rebase_counts_agree_with_the_reference(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    assert rebase_counts(inputs["scores"], inputs["width"], inputs["temperature"]) == outputs["counts"]


@pytest.mark.parametrize(("inputs", "outputs"), ALL_KINDS)
def test_counts_over_the_kept_leaves_agree_with_the_reference(
    inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    kept = [place for place, leaf in enumerate(inputs["leaves"]) if leaf in outputs["selected"]]
    scores = [inputs["scores"][place] for place in kept]
    counts = [0] * len(inputs["leaves"])
    for place, count in zip(kept, rebase_counts(scores, inputs["width"], inputs["temperature"]), strict=True):
        counts[place] = count
    assert counts == outputs["counts_after"]


@pytest.mark.parametrize(("inputs", "outputs"), SMALL_KINDS)
def test_the_selection_is_one_of_the_optimal_ones_of_the_reference(
    inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    selection = select(problem_of(inputs), LONG)
    assert selection.proven
    assert selection.objective == pytest.approx(outputs["objective"], rel=0, abs=1e-9)
    if len(outputs["all_optimal"]) == outputs["num_optimal"]:
        assert list(selection.leaves) in outputs["all_optimal"]


@pytest.mark.parametrize(("inputs", "outputs"), cases("ets_selection.json", "large"))
def test_large_selections_are_worth_what_the_reference_says(
    inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    selection = select(problem_of(inputs), LONG)
    assert selection.proven
    assert selection.objective == pytest.approx(outputs["objective"], rel=0, abs=1e-6)


def test_shares_are_rounded_up_from_the_highest_score_down() -> None:
    # At temperature 1/ln 2 a score is worth 2 ** score: shares 4 : 2 : 1 : 1 of 8 are whole numbers.
    assert rebase_counts([1, 2, 0, 0], 8, 1 / math.log(2)) == [2, 4, 1, 1]
    # Of 4: 2 of 4, then 1 of 2, then the earlier of the two takes ceil(1 / 2) = 1, and nothing is left.
    assert rebase_counts([1, 2, 0, 0], 4, 1 / math.log(2)) == [1, 2, 1, 0]
    # Of 3: ceil(3 / 2) = 2, then ceil(1 / 2) = 1.
    assert rebase_counts([1, 2, 0, 0], 3, 1 / math.log(2)) == [1, 2, 0, 0]


def test_no_leaves_and_no_width_make_no_counts() -> None:
    assert rebase_counts([], 4, 1.0) == []
    assert rebase_counts([0.5, 0.7], 0, 1.0) == [0, 0]


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 1e9, 1e300])
def test_extreme_temperatures_and_scores_are_safe(temperature: float) -> None:
    counts = rebase_counts([-1e300, 1e300, 0.0, 1e300], 8, temperature)
    assert sum(counts) == 8
    assert counts[1] == counts[3] or temperature > 1


finite = st.floats(-1e3, 1e3)


@given(st.lists(finite, min_size=1, max_size=40), st.integers(0, 300), st.floats(1e-3, 1e3))
def test_counts_add_up_to_the_width_and_no_higher_score_gets_less(
    scores: list[float], width: int, temperature: float
) -> None:
    counts = rebase_counts(scores, width, temperature)
    assert sum(counts) == width
    assert all(count >= 0 for count in counts)
    ranked = sorted(range(len(scores)), key=lambda leaf: -scores[leaf])
    assert [counts[leaf] for leaf in ranked] == sorted(counts, reverse=True)


@st.composite
def small_problems(draw: st.DrawFn) -> Selectable:
    """Trees of any shape with up to nine candidates, some of them above others, and leaves that are no candidates."""
    size = draw(st.integers(1, 24))
    parents: list[int | None] = [None]
    parents += [draw(st.integers(max(0, node - 6), node - 1)) for node in range(1, size)]
    inner = set(parents) if draw(st.booleans()) else set()
    ends = [node for node in range(size) if node not in inner]
    leaves = draw(st.permutations(ends))[: draw(st.integers(1, 9))]
    few = st.integers(0, draw(st.sampled_from([0, 2, 5])))
    return Selectable(
        parents=parents,
        costs=draw(st.lists(st.sampled_from([0, 1, 1, 2, 7.5]), min_size=size, max_size=size)),
        leaves=leaves,
        weights=draw(
            st.lists(st.sampled_from([0, 0.05, 0.1, 0.3]), min_size=len(leaves), max_size=len(leaves))
        ),
        clusters=draw(st.lists(few, min_size=len(leaves), max_size=len(leaves))),
        cost_weight=draw(st.sampled_from([0, 0.5, 1, 2, 4, 16])),
        diversity_weight=draw(st.sampled_from([0, 0.5, 1, 3])),
    )


def best_of_all_subsets(problem: Selectable) -> float:
    sizes = range(1, len(problem.leaves) + 1)
    return max(problem.objective(kept) for size in sizes for kept in combinations(problem.leaves, size))


@settings(max_examples=150, deadline=None)
@given(small_problems())
def test_no_subset_is_worth_more_than_the_selection(problem: Selectable) -> None:
    selection = select(problem, LONG)
    assert selection.proven
    assert set(selection.leaves) <= set(problem.leaves)
    assert list(selection.leaves) == sorted(set(selection.leaves))
    assert selection.objective == problem.objective(selection.leaves)
    assert selection.objective == pytest.approx(best_of_all_subsets(problem), rel=0, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(small_problems())
def test_without_time_the_selection_is_no_worse_than_the_best_leaf_alone(problem: Selectable) -> None:
    selection = select(problem, 0.0)
    alone = max(problem.objective([leaf]) for leaf in problem.leaves)
    assert set(selection.leaves) <= set(problem.leaves)
    assert selection.objective == problem.objective(selection.leaves)
    assert selection.objective >= alone - 1e-12
    if selection.proven:
        assert selection.objective == pytest.approx(best_of_all_subsets(problem), rel=0, abs=1e-9)


def grown(seed: int, width: int, depth: int, clusters: int) -> Selectable:
    """A tree as a search grows it, dear enough that the relaxation is fractional for some seeds."""
    rng = Random(seed)
    parents: list[int | None] = [None]
    frontier, counts = [0], [width]
    for _ in range(depth):
        kept = [node for node, count in zip(frontier, counts, strict=True) for _ in range(count)]
        frontier = list(range(len(parents), len(parents) + width))
        parents += kept
        counts = rebase_counts([rng.uniform(0.45, 1.0) for _ in frontier], width, 0.2)
    costs = [rng.randint(10, 100) for _ in parents]
    labels = [rng.randrange(clusters) for _ in frontier]
    return Selectable(parents, costs, frontier, [count / width for count in counts], labels, 4.0, 1.0)


def test_a_selection_that_needs_branching_is_proven_and_without_time_is_not() -> None:
    problems = [grown(seed, 64, 5, 8) for seed in range(4)]
    hurried = [select(problem, 0.0) for problem in problems]
    settled = [select(problem, LONG) for problem in problems]
    assert all(selection.proven for selection in settled)
    assert not all(selection.proven for selection in hurried)
    assert all(less.objective <= more.objective for less, more in zip(hurried, settled, strict=True))
    assert any(less.objective < more.objective for less, more in zip(hurried, settled, strict=True))


def test_the_same_problem_has_the_same_selection_in_any_thread() -> None:
    problems = [grown(seed, 32, 4, 6) for seed in range(8)] * 2

    def solve(problem: Selectable) -> Selection:
        return select(problem, LONG)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(solve, problems)) == [solve(problem) for problem in problems]


def chosen(problem: Selectable) -> tuple[tuple[int, ...], Any]:
    """The leaves of a proven selection, and what they are worth."""
    selection = select(problem, LONG)
    assert selection.proven
    return selection.leaves, selection.objective


def test_one_leaf_of_a_cluster_is_enough_where_the_prize_is_for_the_cluster() -> None:
    """Two steps that say the same are kept once, the one with the larger weight; the lone voice is kept too."""
    problem = Selectable([None, 0, 0, 0], [1, 1, 1, 1], [1, 2, 3], [0.2, 0.1, 0.0], [0, 0, 1], 1.0, 1.0)
    assert chosen(problem) == ((1, 3), pytest.approx(0.2 - 3 / 4 + 1.0))


def test_two_leaves_that_lose_less_together_are_kept_where_none_pays() -> None:
    """Below the dear node 1, both leaves are worth more than either alone, and more than the leaf beside it."""
    problem = Selectable([None, 0, 1, 1, 0], [0, 6, 1, 1, 8], [2, 3, 4], [0.4, 0.4, 0.2], [0, 1, 2], 4.0, 0.0)
    assert chosen(problem) == ((2, 3), pytest.approx(0.8 - 4 * 8 / 16))


def test_what_costs_nothing_is_all_kept() -> None:
    free = Selectable([None, 0, 0], [0, 0, 0], [1, 2], [0.5, 0.5], [0, 0], 1.0, 1.0)
    assert chosen(free) == ((1, 2), 2.0)


def test_nodes_that_lead_to_no_candidate_count_for_nothing() -> None:
    bare = Selectable([None, 0, 0], [1, 1, 1], [1, 2], [0.5, 0.5], [0, 1], 1.0, 1.0)
    more = Selectable([None, 0, 0, 0, 3], [1, 1, 1, 9, 9], [1, 2], [0.5, 0.5], [0, 1], 1.0, 1.0)
    assert chosen(more) == chosen(bare)


def test_a_candidate_above_another_is_chosen_with_it() -> None:
    problem = Selectable([None, 0, 1], [1, 1, 1], [1, 2], [0.1, 0.9], [0, 1], 1.0, 0.0)
    assert chosen(problem) == ((1, 2), pytest.approx(0.0))


def test_no_leaves_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves is empty"):
        select(Selectable([None], [1.0], [], [], [], 1.0, 1.0), LONG)


@pytest.mark.parametrize(("cost_weight", "diversity_weight"), [(1.0, 1.0), (50.0, 0.0), (50.0, 50.0)])
def test_deep_trees_are_selected_from_without_recursion(cost_weight: float, diversity_weight: float) -> None:
    """A comb of 1,000 leaves, each one deeper than the one before, and 1,000 chains of 20 nodes."""
    comb: list[int | None] = [None]
    comb_leaves: list[int] = []
    for _ in range(1000):
        stem = len(comb) - 2 if comb_leaves else 0
        comb += [stem, stem]
        comb_leaves.append(len(comb) - 1)
    chains: list[int | None] = [None]
    chain_leaves: list[int] = []
    for _ in range(1000):
        chains += [0, *range(len(chains), len(chains) + 19)]
        chain_leaves.append(len(chains) - 1)
    for parents, leaves in ((comb, comb_leaves), (chains, chain_leaves)):
        clusters = [place % 200 for place in range(1000)]
        problem = Selectable(
            parents, [1.0] * len(parents), leaves, [1e-3] * 1000, clusters, cost_weight, diversity_weight
        )
        assert select(problem, 1.0).leaves
