"""How each tree strategy shares out its width, depth by depth."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from budgets.budget import Budget
from engines.base import EngineUnavailable
from strategies import efficient_tree_search
from strategies.registry import build
from strategies.selection import Selection
from tests.strategies.bench import TableVerifier, run
from tests.strategies.worlds import branching, events
from verifiers.base import Embedded


def letters(*first: str):
    """Paths that begin with one of these letters and end in a step that repeats it."""

    def follow(path: str) -> list[str]:
        return [f"{letter}\n\n" for letter in first] if not path else [path[0] * 2]

    return branching(follow)


def by_first(scores: dict[str, float]) -> TableVerifier:
    return TableVerifier(lambda text: scores[text[0]])


def kept(ran, depth: int) -> dict[str, int]:
    """Continuations after the selection at `depth`, by the text of the step that goes on."""
    texts = {node["node"]: node["text"].strip() for e in events(ran, "steps") for node in e["nodes"]}
    counts: dict[str, int] = {}
    for node, count in events(ran, "select")[depth - 1]["kept"]:
        counts[texts[node]] = counts.get(texts[node], 0) + count
    return counts


async def test_rebase_shares_the_width_by_reward_best_first():
    ran = await run(
        build("rebase", {"temperature": 1.0}),
        letters("a", "b"),
        Budget(2),
        verifier=by_first({"a": 0.5, "b": 0.5}),
    )
    assert kept(ran, 1) == {"a": 1, "b": 1}
    ran = await run(
        build("rebase", {}), letters("a", "b"), Budget(2), verifier=by_first({"a": 0.9, "b": 0.1})
    )
    # Softmax of 4.5 and 0.5: 0.982 of two is two rounded up, and nothing is left.
    assert kept(ran, 1) == {"a": 2}


async def test_the_width_falls_with_every_response_that_finishes():
    def follow(path: str) -> list[str]:
        return ["end", "on\n\n", "on\n\n", "on\n\n"] if not path else ["done"]

    ran = await run(build("rebase", {}), branching(follow), Budget(4), verifier=TableVerifier(lambda _: 0.5))
    assert sum(kept(ran, 1).values()) == 3
    assert len(ran.texts) == 4


async def test_beams_that_are_kept_share_the_width_and_the_best_get_the_rest():
    scores = by_first({"a": 0.2, "b": 0.9, "c": 0.4, "d": 0.1, "e": 0.8})
    ran = await run(build("beam_search", {"keep": 2}), letters(*"abcde"), Budget(5), verifier=scores)
    assert kept(ran, 1) == {"b": 3, "e": 2}


async def test_a_quarter_of_the_width_is_kept_where_nothing_is_said():
    scores = by_first({letter: i / 10 for i, letter in enumerate("abcdefgh")})
    ran = await run(build("beam_search", {}), letters(*"abcdefgh"), Budget(8), verifier=scores)
    assert kept(ran, 1) == {"h": 4, "g": 4}


async def test_subtrees_keep_their_best_leaf_and_never_compete():
    scores = by_first({"a": 0.1, "b": 0.2, "c": 0.8, "d": 0.9})
    strategy = build("diverse_verifier_tree_search", {"branches": 2})
    ran = await run(strategy, letters(*"abcd"), Budget(4), verifier=scores)
    assert kept(ran, 1) == {"b": 2, "d": 2}


async def test_a_subtree_ends_with_a_response_that_is_its_best_leaf():
    def follow(path: str) -> list[str]:
        return ["a", "b\n\n", "c\n\n", "d\n\n"] if not path else [path[0] * 2]

    scores = by_first({"a": 0.9, "b": 0.2, "c": 0.8, "d": 0.9})
    strategy = build("diverse_verifier_tree_search", {"branches": 2})
    ran = await run(strategy, branching(follow), Budget(4), verifier=scores)
    assert kept(ran, 1) == {"d": 2}


async def test_what_finishes_in_one_subtree_takes_nothing_from_another():
    def follow(path: str) -> list[str]:
        return ["a\n\n", "over", "b\n\n", "over"] if not path else [path[0] * 2]

    scores = by_first({"a": 0.9, "b": 0.8, "o": 0.1})
    strategy = build("diverse_verifier_tree_search", {"branches": 2})
    ran = await run(strategy, branching(follow), Budget(4), verifier=scores)
    assert kept(ran, 1) == {"a": 2, "b": 2}


async def test_weighted_adds_up_the_scores_of_equal_answers_and_argmax_takes_the_highest():
    scores = TableVerifier({"x": 0.7, "y": 0.5})
    best = {}
    for select in ("weighted", "argmax"):
        strategy = build("rebase", {"select": select})
        best[select] = (
            await run(strategy, branching(lambda _: ["x", "y", "y"]), Budget(3), verifier=scores)
        ).best
    assert best == {"weighted": "y", "argmax": "x"}


async def test_ets_prunes_a_leaf_that_is_not_worth_its_share_of_the_kv_cache():
    def follow(path: str) -> list[str]:
        return ["a\n\n", f"{'b' * 60}\n\n"] if not path else [path[0] * 2]

    equal = by_first({"a": 0.5, "b": 0.5})
    counted = {}
    for cost in ("tokens", "count"):
        params = {"node_cost": cost, "diversity_weight": 0.0, "cost_weight": 1.2, "temperature": 1.0}
        ran = await run(build("efficient_tree_search", params), branching(follow), Budget(2), verifier=equal)
        counted[cost] = len(kept(ran, 1))
    # Each leaf has half of the weight. By tokens the long one costs 1.2 · 62/68 of it, by count 1.2 · 1/3.
    assert counted == {"tokens": 1, "count": 2}


async def test_ets_keeps_a_leaf_that_says_what_no_other_says():
    scores = by_first({"a": 0.9, "b": 0.89, "c": 0.05})
    kept_at = {}
    for weight in (0.0, 1.0):
        params = {"diversity_weight": weight, "node_cost": "count", "temperature": 0.05}
        ran = await run(
            build("efficient_tree_search", params), letters("a", "b", "c"), Budget(6), verifier=scores
        )
        (select,) = events(ran, "select")
        kept_at[weight] = select["objective"]
        assert select["proven"]
    assert kept_at[0.0] < kept_at[1.0]


@dataclass
class FirstLetters:
    """Embeds a text by whether it begins with a vowel; counts the texts it was asked about."""

    fails: bool = False
    asked: list[list[str]] = field(default_factory=list)

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        if self.fails:
            raise EngineUnavailable("The engine cannot be reached.")
        self.asked.append(list(texts))
        vectors = [(1.0, 0.0) if text[0] in "aeiou" else (0.0, 1.0) for text in texts]
        return Embedded(tuple(vectors), read=10 * len(texts))


def clusters_of(monkeypatch) -> list[list[int]]:
    seen = []

    def noting(problem, seconds):
        seen.append(list(problem.clusters))
        return Selection(tuple(problem.leaves), 1.0, True)

    monkeypatch.setattr(efficient_tree_search, "select", noting)
    return seen


async def test_steps_are_compared_by_embeddings_where_there_is_an_embedder(monkeypatch):
    seen = clusters_of(monkeypatch)
    embedder = FirstLetters()
    scores = TableVerifier(lambda _: 0.5)
    ran = await run(
        build("efficient_tree_search", {}),
        letters("a", "b", "e"),
        Budget(3),
        verifier=scores,
        embedder=embedder,
    )
    assert seen == [[0, 1, 0]]
    assert len(embedder.asked) == 1
    assert ran.ledger.spent.verifier_tokens == 30 + 7 * len(scores.asked)


async def test_steps_with_equal_texts_are_one_cluster_where_there_is_no_embedder(monkeypatch):
    seen = clusters_of(monkeypatch)
    script = branching(lambda path: ["Add  one.\n\n", "add one.\n\n", "Stop.\n\n"] if not path else ["end"])
    await run(build("efficient_tree_search", {}), script, Budget(3), verifier=TableVerifier(lambda _: 0.5))
    assert seen == [[0, 0, 1]]


async def test_an_embedder_that_fails_leaves_the_texts_to_compare_by_and_a_warning():
    ran = await run(
        build("efficient_tree_search", {}),
        letters("a", "b"),
        Budget(2),
        verifier=TableVerifier(lambda _: 0.5),
        embedder=FirstLetters(fails=True),
    )
    assert ran.outcome.stopped_because == "completed"
    assert any("embedding them failed" in warning for warning in ran.search.warnings)


async def test_embeddings_and_selections_replay_from_the_journal(monkeypatch):
    params = {"verifier": TableVerifier(lambda _: 0.5), "seed": 3}
    first = await run(
        build("efficient_tree_search", {}), letters("a", "b"), Budget(4), embedder=FirstLetters(), **params
    )

    def asked_again(*_):
        raise AssertionError

    monkeypatch.setattr(efficient_tree_search, "select", asked_again)
    silent = FirstLetters(fails=True)
    again = await run(
        build("efficient_tree_search", {}),
        [],
        Budget(4),
        embedder=silent,
        journal=first.search.journal.records,
        **params,
    )
    assert again.outcome == first.outcome
    assert again.ledger.spent == first.ledger.spent


async def test_a_selection_that_ran_out_of_time_is_told(monkeypatch):
    def late(problem, seconds):
        return Selection(tuple(problem.leaves[:1]), 0.5, False)

    monkeypatch.setattr(efficient_tree_search, "select", late)
    ran = await run(
        build("efficient_tree_search", {}),
        letters("a", "b"),
        Budget(2),
        verifier=TableVerifier(lambda _: 0.5),
    )
    assert any("greedy choice" in warning for warning in ran.search.warnings)
    assert kept(ran, 1) == {"a": 2}


@pytest.mark.parametrize("name", ["rebase", "efficient_tree_search", "beam_search"])
async def test_rewards_beyond_0_to_1_go_through_a_sigmoid(name):
    ran = await run(build(name, {}), letters("a", "b"), Budget(4), verifier=by_first({"a": 9.0, "b": -9.0}))
    assert ran.texts[0] == "a\n\naa"
