import random

import pytest

from budgets.budget import Budget
from strategies.best_of_majority import BestOfMajority
from strategies.best_of_n import BestOfN
from tests.reference import cases
from tests.strategies.bench import TableVerifier, run


@pytest.mark.parametrize(("inputs", "outputs"), cases("voting.json", "best_of_majority"))
async def test_agrees_with_the_reference(inputs, outputs):
    texts = [f"{answer}\u2063{i}" for i, answer in enumerate(inputs["answers"])]
    rewards = dict(zip(texts, inputs["rewards"], strict=True))
    pattern = "^(.*)\u2063"
    ran = await run(
        BestOfMajority(alpha=inputs["alpha"]),
        texts,
        Budget(len(texts)),
        verifier=TableVerifier(rewards),
        k=inputs["k"],
        format="regex",
        pattern=pattern,
    )
    first = [c.answer for c in ran.outcome.candidates[: len(outputs["top"])]]
    assert first == outputs["top"]


async def test_a_rare_answer_that_fools_the_reward_model_wins_best_of_n_but_not_best_of_majority():
    """The property that the paper proves: reward hacking by a rare answer does not grow with N."""
    rng = random.Random(7)
    reward = {"right": 0.7, "wrong": 0.4, "hack": 0.99}.get
    right = {"best_of_n": 0, "best_of_majority": 0, "single": 0}
    for _ in range(200):
        texts = rng.choices(["right", "wrong", "hack"], weights=[0.5, 0.45, 0.05], k=64)
        right["single"] += texts[0] == "right"
        for strategy in (BestOfN(), BestOfMajority(alpha=0.2)):
            ran = await run(strategy, texts, Budget(64), verifier=TableVerifier(reward))
            right[strategy.name] += ran.best == "right"
    assert right["best_of_n"] < right["single"] < right["best_of_majority"]
    assert right["best_of_majority"] >= 195


async def test_the_most_frequent_answer_qualifies_where_none_is_frequent_enough():
    verifier = TableVerifier({"a": 0.1, "b": 0.9, "c": 1.0})
    ran = await run(BestOfMajority(alpha=1.0), ["a", "b", "a", "b", "c"], Budget(5), verifier=verifier)
    assert ran.best == "b"


async def test_the_k_best_answers_come_first_and_differ():
    verifier = TableVerifier({"a": 0.9, "b": 0.8, "c": 0.7})
    ran = await run(BestOfMajority(), ["a", "a", "c", "b", "b", "c"], Budget(6), verifier=verifier, k=3)
    assert ran.texts[:3] == ["a", "b", "c"]
    assert [c.votes for c in ran.outcome.candidates[:3]] == [2, 2, 2]
