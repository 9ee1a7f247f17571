import pytest

from budgets.budget import Budget
from budgets.tariff import Charge
from engines.base import EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.best_of_n import BestOfN
from strategies.journal import Draw
from strategies.majority import Majority
from strategies.pricing import UNPRICED, Pricing
from strategies.repeated_sampling import RepeatedSampling
from tests.strategies.bench import TARIFF, TableVerifier, run

PRICED = Pricing(TARIFF)


async def test_a_run_costs_what_its_lengths_cost_after_one_prompt():
    ran = await run(Majority(), ["a" * 7, "b" * 3, "a" * 7], Budget(3), pricing=PRICED)
    assert ran.ledger.spent.charge == TARIFF.charge(3, [(1, 7), (1, 3), (1, 7)])


async def test_each_wave_computes_the_prompt_again_where_the_engine_has_cached_none():
    table = TableVerifier({"b": 0.9})
    ran = await run(RepeatedSampling(), ["aa", "aaa", "b"], Budget(3), verifier=table, pricing=PRICED)
    (first, second) = [draw for draw in ran.search.journal.records if isinstance(draw, Draw)]
    waves = [TARIFF.charge(3, [(1, len(d.sample.tokens)) for d in draw.drawn]) for draw in (first, second)]
    assert ran.ledger.spent.charge.eflops == pytest.approx(sum(waves, Charge()).eflops)


async def test_without_a_tariff_nothing_is_charged():
    ran = await run(Majority(), ["a", "b"], Budget(2), pricing=UNPRICED)
    assert ran.ledger.spent.charge == Charge()


async def test_samples_are_shortened_and_then_fewer_where_the_price_is_above_the_cap():
    cap = TARIFF.charge(3, [(2, 16)]).usd * 1.0001
    fit = max(n for n in range(1, 9) if TARIFF.charge(3, [(n, 16)]).usd <= cap)
    ran = await run(Majority(), ["a" * 80] * 8, Budget(8, usd=cap), pricing=PRICED, max_tokens=100)
    (draw, *_) = ran.search.journal.records
    assert fit < 8
    assert (draw.most, draw.max_tokens) == (16 * fit, 16)
    assert ran.outcome.stopped_because == "budget_usd"
    assert 0.9 * cap < ran.ledger.spent.charge.usd <= cap


async def test_room_is_kept_for_the_verdicts_on_what_is_drawn():
    cap = TARIFF.charge(3, [(8, 60)]).eflops * 1.5
    table = TableVerifier(lambda text: 0.5)
    ran = await run(
        BestOfN(), ["a" * 60] * 40, Budget(8, eflops=cap), verifier=table, pricing=Pricing(TARIFF, TARIFF)
    )
    assert ran.outcome.stopped_because == "budget_eflops"
    assert ran.outcome.candidates
    assert all(candidate.score == 0.5 for candidate in ran.outcome.candidates)
    alone = await run(BestOfN(), ["a" * 60] * 40, Budget(8, eflops=cap), verifier=table, pricing=PRICED)
    assert alone.outcome.stopped_because == "completed"


async def test_the_time_of_whole_calls_is_learned_and_that_of_broken_ones_is_not():
    heard: list[tuple[float, ...]] = []
    pricing = Pricing(TARIFF, None, lambda *times: heard.append(times))
    ran = await run(Majority(), ["a" * 7, "b" * 3], Budget(2), pricing=pricing)
    workload = TARIFF.workload(3, [(1, 7), (1, 3)])
    assert [times[:2] for times in heard] == [TARIFF.roofline(workload)]
    assert heard[0][2] == pytest.approx(ran.ledger.spent.engine_seconds)
    again = ran.search.journal.records
    await run(Majority(), [], Budget(2), pricing=pricing, journal=again)
    broken = ScriptedEngine(["a", EngineUnavailable("gone")])
    await run(Majority(), broken, Budget(2), pricing=pricing)
    assert len(heard) == 1


async def test_a_replay_costs_what_the_run_did():
    first = await run(Majority(), ["a" * 7, "b" * 3], Budget(2), pricing=PRICED)
    again = await run(Majority(), [], Budget(2), pricing=PRICED, journal=first.search.journal.records)
    assert again.ledger.spent.charge == first.ledger.spent.charge
