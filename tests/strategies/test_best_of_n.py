import math
import random
from collections import Counter

import pytest

from budgets.budget import Budget
from engines.base import EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.base import Candidate
from strategies.best_of_n import BestOfN, softmax_order
from strategies.repeated_sampling import RepeatedSampling
from tests.strategies.bench import TableVerifier, run


async def test_takes_the_highest_reward():
    ran = await run(
        BestOfN(), ["a", "b", "c"], Budget(3), verifier=TableVerifier({"a": -2.0, "b": 3.0, "c": 1.0})
    )
    assert ran.texts == ["b", "c", "a"]
    assert ran.outcome.stopped_because == "completed"
    assert len(ran.engine.calls) == 1
    assert ran.engine.calls[0].n == 3


async def test_beats_a_single_sample_where_rewards_tell_right_from_wrong_better_than_chance():
    rng = random.Random(11)
    single = best = 0
    for _ in range(300):
        texts = [f"{'right' if rng.random() < 0.4 else 'wrong'} {i}" for i in range(8)]
        rewards = {text: rng.gauss(1.0 if text.startswith("right") else 0.0, 1.0) for text in texts}
        ran = await run(BestOfN(), texts, Budget(8), verifier=TableVerifier(rewards))
        single += texts[0].startswith("right")
        best += ran.texts[0].startswith("right")
    assert best > single + 60


async def test_weighted_adds_up_the_rewards_of_equal_answers():
    verifier = TableVerifier({"a": 0.9, "b": 0.5})
    ran = await run(BestOfN(select="weighted"), ["a", "b", "b"], Budget(3), verifier=verifier)
    assert ran.best == "b"


async def test_weighted_does_not_punish_an_answer_for_more_votes_where_rewards_are_negative():
    verifier = TableVerifier({"a": -1.0, "b": -0.9})
    ran = await run(BestOfN(select="weighted"), ["a", "b", "b"], Budget(3), verifier=verifier)
    assert ran.best == "b"


def test_softmax_draws_in_proportion_to_exp_of_score_over_temperature():
    candidates = [Candidate(i, None, score) for i, score in enumerate([0.0, 1.0, 2.0])]  # type: ignore[arg-type]
    rng = random.Random(3)
    firsts = Counter(softmax_order(candidates, 0.5, rng)[0].index for _ in range(20_000))
    weights = [math.exp(score / 0.5) for score in (0.0, 1.0, 2.0)]
    for i, weight in enumerate(weights):
        assert firsts[i] / 20_000 == pytest.approx(weight / sum(weights), abs=0.01)


async def test_missing_and_nan_scores_come_last():
    verifier = TableVerifier({"a": None, "b": float("nan"), "c": -5.0})
    ran = await run(BestOfN(), ["a", "b", "c"], Budget(3), verifier=verifier)
    assert ran.texts == ["c", "a", "b"]
    assert ran.outcome.candidates[1].score is None


async def test_duplicated_responses_are_scored_once():
    verifier = TableVerifier({"a": 0.2, "b": 0.9})
    ran = await run(BestOfN(), ["a", "b", "a", "a"], Budget(4), verifier=verifier)
    assert verifier.asked == [["a", "b"]]
    assert [c.score for c in ran.outcome.candidates] == [0.9, 0.2, 0.2, 0.2]


async def test_a_verifier_that_fails_leaves_the_samples_and_says_so():
    verifier = TableVerifier({}, fails=EngineUnavailable("The engine cannot be reached."))
    ran = await run(BestOfN(), ["a", "b"], Budget(2), verifier=verifier)
    assert ran.texts == ["a", "b"]
    assert any("table gave no scores" in warning for warning in ran.search.warnings)
    assert ran.ledger.spent.verifier_tokens == 0


async def test_tokens_are_kept_for_a_judge_and_its_verdicts_are_charged():
    verifier = TableVerifier({"aaaa": 0.1, "bbbb": 0.9}, max_tokens=5, generated=1)
    ran = await run(BestOfN(), ["aaaa", "bbbb"], Budget(2, 60), verifier=verifier)
    assert ran.best == "bbbb"
    assert ran.engine.calls[0].max_tokens == 25
    assert ran.ledger.spent.tokens == 4 + 4 + 2
    assert ran.ledger.spent.verifier_tokens == 7


async def test_a_verifier_that_costs_nothing_ranks_what_the_deadline_left():
    engine = ScriptedEngine(["bad", "good", "x" * 5000], step_seconds=0.002)
    verifier = TableVerifier({"bad": 0.1, "good": 0.9}, instant=True)
    ran = await run(BestOfN(), engine, Budget(3, None, 0.3), verifier=verifier, max_tokens=5000)
    assert ran.texts == ["good", "bad"]
    assert ran.outcome.stopped_because == "budget_seconds"


async def test_a_judge_that_broke_midway_is_charged_in_full():
    broken = EngineUnavailable("The connection broke.", began=True)
    verifier = TableVerifier({}, max_tokens=5, fails=broken)
    ran = await run(BestOfN(), ["aaaa", "bbbb"], Budget(2, 60), verifier=verifier)
    assert ran.ledger.spent.tokens == 4 + 4 + 2 * 5


async def test_tokens_kept_for_verdicts_come_back_where_a_text_is_known():
    verifier = TableVerifier({"a": 0.2}, max_tokens=20, generated=1)
    ran = await run(RepeatedSampling(accept=33), ["a"] * 32, Budget(32, 1000), verifier=verifier)
    assert ran.outcome.stopped_because == "budget_samples"
    assert ran.ledger.aside == 0
    assert ran.ledger.spent.tokens == 32 + 1
