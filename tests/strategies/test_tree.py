from hypothesis import given
from hypothesis import strategies as st

from engines.base import Sample
from strategies.tree import ROOT, SearchTree


def sample(text: str, logprob: float | None = -1.0) -> Sample:
    return Sample(text, tuple(map(ord, text)), "stop", logprob)


def tree_of(parents: list[int], lengths: list[int]) -> SearchTree:
    tree = SearchTree((7,) * 5)
    for parent, length in zip(parents, lengths, strict=True):
        tree.add(parent, sample("x" * length), "x" * length)
    return tree


trees = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        st.tuples(*(st.integers(0, i) for i in range(n))).map(list),
        st.lists(st.integers(0, 9), min_size=n, max_size=n),
        st.sets(st.integers(0, n)),
    )
)


@given(trees)
def test_the_kv_cache_holds_each_common_beginning_once(parts):
    parents, lengths, leaves = parts
    tree = tree_of(parents, lengths)
    distinct = {node for leaf in leaves for node in [ROOT, *tree.path(leaf)]} | {ROOT}
    assert tree.kv_tokens(leaves) == sum(len(tree[node].tokens) for node in distinct)
    assert tree.kv_tokens(leaves) <= 5 + sum(len(tree.prefix(leaf)) - 5 for leaf in leaves)


@given(trees)
def test_a_prefix_is_the_prompt_and_the_tokens_of_each_step(parts):
    parents, lengths, _ = parts
    tree = tree_of(parents, lengths)
    for node in range(1, len(tree.nodes)):
        assert tree.prefix(node) == tree.prefix(tree[node].parent) + tree[node].tokens
        assert tree[node].length == len(tree.prefix(node)) - 5


def test_a_trajectory_is_a_response_of_its_steps():
    tree = SearchTree((1, 2))
    first = tree.add(ROOT, sample("ab"), "ab\n\n")
    last = tree.add(first, sample("c", -0.5), "c")
    tree[first].score, tree[last].score = 0.25, 0.75
    response = tree.trajectory(last).response("c", "c")
    assert response.sample == Sample("ab\n\nc", (97, 98, 99), "length", -1.5)
    assert [(step.text, step.tokens, step.score) for step in response.steps] == [
        ("ab\n\n", 2, 0.25),
        ("c", 1, 0.75),
    ]


def test_a_trajectory_with_an_unknown_log_probability_has_none():
    tree = SearchTree((1,))
    first = tree.add(ROOT, sample("a", None), "a")
    assert tree.trajectory(tree.add(first, sample("b"), "b")).sample.logprob is None


def test_an_empty_step_leaves_the_log_probability_of_the_others():
    tree = SearchTree((1,))
    first = tree.add(ROOT, sample("a"), "a")
    assert tree.trajectory(tree.add(first, sample("", None), "")).sample.logprob == -1.0
