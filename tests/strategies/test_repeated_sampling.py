import random

import pytest

from budgets.budget import Budget
from strategies.repeated_sampling import RepeatedSampling
from tests.strategies.bench import TableVerifier, run


def verifier() -> TableVerifier:
    return TableVerifier(lambda text: float(text.startswith("yes")))


async def test_stops_at_the_first_accepted_sample():
    ran = await run(RepeatedSampling(), ["no", "no", "yes"], Budget(64), verifier=verifier())
    assert ran.outcome.stopped_because == "accepted"
    assert ran.texts[0] == "yes"
    assert [call.n for call in ran.engine.calls] == [1, 2]


async def test_the_rest_of_a_wave_is_cancelled_when_one_is_accepted():
    script = ["no", "yes", "n" * 80, "n" * 80, "n" * 80]
    ran = await run(RepeatedSampling(waves=(1, 4)), script, Budget(64), verifier=verifier())
    assert ran.outcome.stopped_because == "accepted"
    assert ran.ledger.spent.tokens == ran.engine.generated < 30


async def test_ends_with_the_budget_where_none_is_accepted():
    ran = await run(RepeatedSampling(), ["no"] * 7, Budget(7), verifier=verifier())
    assert ran.outcome.stopped_because == "budget_samples"
    assert [call.n for call in ran.engine.calls] == [1, 2, 4]


async def test_given_waves_are_drawn_and_the_last_is_repeated():
    ran = await run(RepeatedSampling(waves=(2, 3)), ["no"] * 9, Budget(9), verifier=verifier())
    assert [call.n for call in ran.engine.calls] == [2, 3, 3, 1]


async def test_beats_a_single_sample_where_right_answers_can_be_recognised():
    rng = random.Random(1)
    single = found = 0
    for _ in range(200):
        texts = ["yes" if rng.random() < 0.2 else "no" for _ in range(16)]
        single += texts[0] == "yes"
        found += (await run(RepeatedSampling(), texts, Budget(16), verifier=verifier())).texts[0] == "yes"
    assert found >= 190
    assert single < 60


async def test_coverage_is_estimated_where_nothing_could_stop_the_draw():
    script = ["yes", "no", "no", "no"]
    ran = await run(RepeatedSampling(accept=5), script, Budget(4), verifier=verifier())
    assert ran.outcome.estimates["coverage"] == pytest.approx({"1": 0.25, "2": 0.5, "3": 0.75, "4": 1.0})
    stoppable = await run(RepeatedSampling(accept=2), script, Budget(4), verifier=verifier())
    assert "coverage" not in stoppable.outcome.estimates


async def test_pass_until_is_unbiased_over_many_runs():
    rng = random.Random(4)
    estimates = []
    for _ in range(1500):
        texts = ["yes" if rng.random() < 0.3 else "no" for _ in range(200)]
        strategy = RepeatedSampling(waves=(4,), accept=4)
        ran = await run(strategy, texts, Budget(200), verifier=verifier())
        estimates.append(ran.outcome.estimates["pass_until"])
    assert sum(estimates) / len(estimates) == pytest.approx(0.3, abs=0.015)


async def test_scores_are_read_against_accept_at():
    strategy = RepeatedSampling(accept_at=2.0)
    ran = await run(
        strategy, ["a", "b", "c"], Budget(8), verifier=TableVerifier({"a": 1.0, "b": 1.9, "c": 2.0})
    )
    assert ran.texts[0] == "c"
    assert ran.ledger.spent.samples == 3


async def test_no_estimate_is_given_where_a_score_is_missing():
    ran = await run(RepeatedSampling(accept=9), ["a"] * 4, Budget(4), verifier=TableVerifier({}))
    assert ran.outcome.estimates == {"samples": 4, "accepted": 0}
