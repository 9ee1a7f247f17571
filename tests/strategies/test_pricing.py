from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.budget import Budget
from budgets.latency import Factors
from budgets.tariff import Charge
from engines.base import EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.base import Problem
from strategies.best_of_n import BestOfN
from strategies.efficient_tree_search import EfficientTreeSearch
from strategies.journal import Draw
from strategies.majority import Majority
from strategies.pricing import UNPRICED, Calls, Pricing
from strategies.repeated_sampling import RepeatedSampling
from tests.strategies.bench import TARIFF, TableVerifier, run
from verifiers.base import Embedded

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
    pricing = Pricing(TARIFF, learn=lambda *times: heard.append(times))
    ran = await run(Majority(), ["a" * 7, "b" * 3], Budget(2), pricing=pricing)
    workload = TARIFF.workload(3, [(1, 7), (1, 3)])
    assert [times[:2] for times in heard] == [TARIFF.roofline(workload)]
    assert heard[0][2] == pytest.approx(ran.ledger.spent.engine_seconds)
    again = ran.search.journal.records
    await run(Majority(), [], Budget(2), pricing=pricing, journal=again)
    broken = ScriptedEngine(["a", EngineUnavailable("gone")])
    await run(Majority(), broken, Budget(2), pricing=pricing)
    assert len(heard) == 1


async def replayed(factor: float):
    """A run under a cap in USD, and its replay where calls cost `factor` times as much."""
    script, verifier = ["a" * 70, "b" * 30, "a" * 70, "c" * 50] * 20, TableVerifier(lambda text: 0.4)
    budget = Budget(4, usd=TARIFF.charge(3, [(4, 50)]).usd)
    both = Pricing(TARIFF, TARIFF)
    first = await run(BestOfN(), script, budget, verifier=verifier, pricing=both)
    now = replace(TARIFF, factors=Factors(factor, factor))
    records = first.search.journal.records
    again = await run(
        BestOfN(),
        [] if factor == 1 else script,
        budget,
        verifier=verifier,
        pricing=Pricing(now, now),
        journal=records,
    )
    return budget, first, again


async def test_a_replay_costs_what_the_run_did():
    _, first, again = await replayed(1.0)
    assert again.outcome == first.outcome
    assert again.ledger.spent.charge == first.ledger.spent.charge
    assert again.engine.calls == []


async def test_a_replay_names_the_budget_that_trimmed_the_run():
    script, budget = ["a" * 20] * 16, Budget(16, 40)
    first = await run(Majority(), script, budget)
    again = await run(Majority(), [], budget, journal=first.search.journal.records)
    assert first.ledger.spent.samples == 2
    assert again.outcome == first.outcome
    assert again.outcome.stopped_because == "budget_tokens"


@pytest.mark.parametrize("factor", [0.3, 3.0])
async def test_a_replay_under_other_prices_costs_what_was_paid_then_and_keeps_to_the_cap(factor):
    budget, first, again = await replayed(factor)
    begun = first.search.journal.records[0]
    assert isinstance(begun, Draw)
    assert begun.charge.usd <= again.ledger.spent.charge.usd <= budget.usd
    assert again.ledger.spent.samples == first.ledger.spent.samples


async def test_a_verifier_that_breaks_off_is_charged_for_all_that_it_may_have_done():
    pricing = Pricing(TARIFF, TARIFF)
    never = EngineUnavailable("refused")
    broken = EngineUnavailable("broke off", began=True)
    costs = []
    for failure in (never, broken):
        table = TableVerifier({}, fails=failure, max_tokens=3)
        ran = await run(BestOfN(), ["a", "b"], Budget(2, 100), verifier=table, pricing=pricing)
        costs.append(ran.ledger.spent.charge.eflops)
    assert costs[0] == TARIFF.charge(3, [(2, 1)]).eflops
    assert costs[1] > costs[0]


async def test_a_verdict_within_a_stream_has_the_room_that_was_made_for_it():
    pricing = Pricing(TARIFF, TARIFF)
    table = TableVerifier(lambda text: float(text == "right"))
    free = await run(
        RepeatedSampling(waves=(4,)),
        ["right", *["x" * 60] * 3],
        Budget(4),
        verifier=table,
        pricing=pricing,
        max_tokens=60,
    )
    room = free.search.least_charge.eflops + 1.1 * TARIFF.charge(3, [(4, 60)]).eflops
    tight = Budget(4, eflops=room)
    ran = await run(
        RepeatedSampling(waves=(4,)),
        ["right", *["x" * 60] * 3],
        tight,
        verifier=table,
        pricing=pricing,
        max_tokens=60,
    )
    assert (ran.best, ran.outcome.stopped_because) == ("right", "accepted")
    assert ran.ledger.spent.charge.eflops <= room


async def test_time_in_which_samples_were_judged_is_not_learned_as_the_engines():
    heard: list[tuple[float, ...]] = []
    table = TableVerifier(lambda text: 0.0)
    pricing = Pricing(TARIFF, learn=lambda *times: heard.append(times))
    await run(RepeatedSampling(waves=(4,)), list("abcd"), Budget(4), verifier=table, pricing=pricing)
    assert heard == []


async def test_a_cut_answer_that_cannot_go_on_names_the_budget_that_cut_it():
    cap = TARIFF.charge(3, [(4, 40)]).usd
    ran = await run(
        Majority(), ["a" * 80] * 4, Budget(4, usd=cap), pricing=PRICED, sampling={"structured_outputs": {}}
    )
    assert ran.outcome.stopped_because == "budget_usd"


async def test_what_is_embedded_is_paid_for_or_told_to_be_unknown():
    class Vectors:
        async def embed(self, texts, *, seconds=None):
            return Embedded(tuple((1.0, float(i)) for i, _ in enumerate(texts)), read=50 * len(texts))

    async def ran(pricing):
        script = [f"step {i}" + chr(10) * 2 for i in range(400)]
        return await run(
            EfficientTreeSearch(),
            script,
            Budget(4, 400, eflops=1e18),
            verifier=TableVerifier(lambda t: 0.5),
            embedder=Vectors(),
            pricing=pricing,
        )

    known, unknown = await ran(Pricing(TARIFF, embedder=TARIFF)), await ran(Pricing(TARIFF))
    assert known.ledger.spent.charge.eflops > unknown.ledger.spent.charge.eflops
    assert any("embedding costs is not known" in warning for warning in unknown.search.warnings)
    assert not any("embedding" in warning for warning in known.search.warnings)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(1, 8), st.integers(1, 200))
def test_one_sequence_more_never_costs_less_whatever_the_prefixes(pasts, n, tokens):
    calls = Calls(Pricing(TARIFF, TARIFF), Problem(({"role": "user", "content": "?"},), (1,) * 30, 100))
    prefixes = [(1,) * (30 + past) for past in pasts]
    for price in (calls.most(prefixes), calls.verdicts_on(prefixes, 3)):
        charges = [price(sequences, tokens).eflops for sequences in range(1, len(pasts) * n + 1)]
        assert all(less <= more * (1 + 1e-12) for less, more in pairwise(charges))
