import random

import pytest

from budgets.budget import Budget
from engines.base import Sample
from engines.scripted import ScriptedEngine
from strategies.majority import Majority
from tests.strategies.bench import TableVerifier, run


async def test_takes_the_most_frequent_answer_in_one_plain_call():
    ran = await run(Majority(), ["a", "b", "b", "c"], Budget(4))
    assert ran.best == "b"
    assert [(c.answer, c.votes) for c in ran.outcome.candidates[:3]] == [("b", 2), ("a", 1), ("c", 1)]
    assert [call.n for call in ran.engine.calls] == [4]
    assert ran.outcome.stopped_because == "completed"


async def test_beats_a_single_sample_where_right_answers_agree_more_than_wrong_ones():
    rng = random.Random(5)
    single = voted = 0
    for _ in range(300):
        texts = rng.choices(["right", "x", "y", "z"], weights=[0.4, 0.2, 0.2, 0.2], k=16)
        single += texts[0] == "right"
        voted += (await run(Majority(), texts, Budget(16))).best == "right"
    assert voted > single + 60


async def test_ties_go_to_the_higher_score_then_to_the_earlier():
    assert (await run(Majority(), ["b", "a"], Budget(2))).best == "b"
    ran = await run(Majority(), ["x1", "x2"], Budget(2), format="choice", verifier=None)
    assert ran.texts == ["x1", "x2"]


async def test_a_named_verifier_picks_among_responses_that_agree():
    verifier = TableVerifier({"It is 4": 0.2, "So 4": 0.8, "5": 0.9})
    ran = await run(Majority(), ["It is 4", "So 4", "5"], Budget(3), format="number", verifier=verifier)
    assert ran.texts[0] == "So 4"


async def test_beta_stopping_draws_no_sample_in_vain():
    ran = await run(Majority(stop="beta"), ["a"] * 4, Budget(64))
    assert [call.n for call in ran.engine.calls] == [4]
    assert ran.outcome.stopped_because == "consensus"
    assert ran.ledger.spent.samples == 4


async def test_beta_stopping_goes_on_while_a_further_vote_could_decide():
    ran = await run(Majority(stop="beta"), ["a", "b", "a", "a", "a", "a", "a"], Budget(64))
    assert ran.outcome.stopped_because == "consensus"
    assert [call.n for call in ran.engine.calls] == [4, 3]


async def test_an_undecided_vote_ends_with_the_budget():
    ran = await run(Majority(stop="beta"), ["a", "b"] * 4, Budget(8))
    assert ran.outcome.stopped_because == "budget_samples"
    assert ran.ledger.spent.samples == 8
    assert ran.best == "a"


async def test_a_wave_is_cancelled_when_the_vote_is_decided_and_only_what_ran_is_charged():
    script = ["a", "a", "a", "b" * 90, "c" * 90]
    ran = await run(Majority(stop="ahead_by_k", k=3, wave=5), script, Budget(5))
    assert ran.outcome.stopped_because == "consensus"
    assert ran.engine.generated == ran.ledger.spent.tokens == 3
    assert ran.texts == ["a", "a", "a"]


async def test_red_flagged_samples_have_no_vote():
    long, cut = "b" * 30, Sample("b" * 100, (98,) * 100, "length")
    strategy = Majority(stop="ahead_by_k", k=2, red_flag_tokens=20)
    ran = await run(strategy, [long, long, "a", cut, "a"], Budget(5))
    assert ran.best == "a"
    assert ran.outcome.stopped_because == "consensus"
    assert ran.outcome.candidates[0].votes == 2


@pytest.mark.parametrize("stop", ["beta", "ahead_by_k"])
async def test_stopping_early_saves_tokens_against_drawing_all(stop):
    rng = random.Random(2)
    spent = {"never": 0, stop: 0}
    right = {"never": 0, stop: 0}
    for _ in range(100):
        texts = rng.choices(["right", "wrong", "odd"], weights=[0.7, 0.2, 0.1], k=32)
        for rule in spent:
            ran = await run(Majority(stop=rule), texts, Budget(32))
            spent[rule] += ran.ledger.spent.samples
            right[rule] += ran.best == "right"
    assert spent[stop] < spent["never"] / 2
    assert right[stop] >= 93


async def test_responses_without_an_answer_have_no_vote():
    ran = await run(Majority(), ["no idea", "none", "7"], Budget(3), format="number")
    assert ran.best == "7"
    assert len(ran.outcome.candidates) == 3


async def test_reasoning_has_no_vote():
    script = ["<think>9</think>7", "<think>9</think>7", "9"]
    ran = await run(Majority(), script, Budget(3), format="number")
    assert ran.best == "7"


async def test_samples_cut_by_their_share_of_the_budget_are_continued_with_what_the_short_ones_leave():
    engine = ScriptedEngine(["aa", "aa", Sample("b" * 20, (98,) * 20, "length"), "bbbbb"])
    ran = await run(Majority(), engine, Budget(3, 60), max_tokens=100)
    first, second = engine.calls
    assert (first.n, first.max_tokens) == (3, 20)
    assert second.prompts == ((1, 2, 3, *[98] * 20),)
    assert ran.texts == ["aa", "b" * 25, "aa"]
    assert ran.ledger.spent.samples == 3
    assert ran.ledger.spent.tokens == 29
    assert ran.outcome.stopped_because == "completed"


async def test_a_sample_that_the_budget_cuts_for_good_is_kept_as_it_is():
    ran = await run(Majority(), ["a" * 50], Budget(1, 30), max_tokens=100)
    assert ran.outcome.candidates[0].response.sample.finish_reason == "length"
    assert ran.outcome.stopped_because == "budget_tokens"
    assert ran.ledger.spent.tokens == 30


async def test_a_wave_counts_the_votes_of_samples_that_stay_cut():
    """Found by review: they do not finish, and must have their votes all the same."""
    more = " and so on" * 30
    script = ["9", *[f"5{more}"] * 6, *[more] * 30]
    ran = await run(Majority(stop="beta", wave=7), script, Budget(7, 350), max_tokens=400, format="number")
    assert ran.best == "5"
    assert ran.outcome.stopped_because == "consensus"


async def test_a_vote_on_tool_calls_is_decided_by_what_is_returned():
    """Four votes for one call do not decide against four different calls of another function."""

    def call(name: str, x: int) -> str:
        return f'{{"name": "{name}", "arguments": {{"x": {x}}}}}'

    script = [
        call("f", 1),
        call("g", 0),
        call("f", 2),
        call("g", 0),
        call("f", 3),
        call("g", 0),
        call("f", 4),
    ]
    ran = await run(Majority(stop="ahead_by_k", k=3), script, Budget(7), format="tool_call")
    assert ran.outcome.stopped_because == "budget_samples"


async def test_a_sample_cut_amid_a_stop_string_is_not_continued():
    cut = Sample("a" * 28 + "<E", (97,) * 30, "length")
    engine = ScriptedEngine([cut, "ND>more"])
    problem_stop = ("<END>",)
    ran = await run(Majority(), engine, Budget(1, 30), max_tokens=100, stop=problem_stop)
    assert len(engine.calls) == 1
    assert ran.outcome.stopped_because == "budget_tokens"


async def test_penalties_are_not_forgotten_by_a_continuation():
    engine = ScriptedEngine(["aa", "b" * 50])
    sampling = {"presence_penalty": 0.5}
    ran = await run(Majority(), engine, Budget(2, 60), max_tokens=100, sampling=sampling)
    assert len(engine.calls) == 1
    assert ran.outcome.stopped_because == "budget_tokens"


async def test_every_cut_sample_is_continued_while_tokens_are_left():
    script = ["a"] * 3 + ["b" * 20] * 3 + ["b" * 3] * 3
    ran = await run(Majority(), ScriptedEngine(script), Budget(6, 100), max_tokens=100)
    assert all(c.response.sample.finish_reason == "stop" for c in ran.outcome.candidates)
