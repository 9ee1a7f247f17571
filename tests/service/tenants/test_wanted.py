"""What a run wants to hold: never less than a run within it spends, never more than its own budget."""

import pytest

from service.planning import plan
from service.schemas import ChatRequest
from service.tenants.quotas import nano
from service.tenants.tenant import Tenant
from service.tenants.wanted import wanted
from strategies.journal import Lost
from tests.service.live import MESSAGES
from tests.service.priced import paid
from tests.service.tenants.worlds import world_of
from tests.stand_ins import MODEL

RICH = Tenant("rich", tokens_per_day=10**12, usd_per_day=1e5)


@pytest.fixture
async def world(tmp_path):
    async with world_of(model=paid(tmp_path)) as entered:
        yield entered


async def wants(world, tenant=RICH, lost=None, max_tokens=50, **scaling):
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": max_tokens, "scaling": scaling}
    planned = await plan(world, ChatRequest.model_validate(body), tenant)
    return wanted(planned, tenant, lost), planned


async def test_it_is_all_samples_in_full_length_within_the_budget(world):
    assert (await wants(world, budget={"samples": 4}))[0].tokens == 200
    assert (await wants(world, budget={"samples": 4, "tokens": 120}))[0].tokens == 120
    some, _ = await wants(world, budget={"samples": 4, "usd": 1e-6})
    assert (some.nano, some.by) == (1000, (MODEL, "majority"))


async def test_verdicts_are_reckoned_with(world):
    plain, _ = await wants(world, strategy="best_of_n", budget={"samples": 4})
    judged, planned = await wants(world, strategy="best_of_n", budget={"samples": 4}, verifier="judge")
    assert judged.tokens == plain.tokens + 4 * planned.verifier.max_tokens
    assert judged.nano > plain.nano > 0


async def test_a_search_judges_each_step(world):
    once, planned = await wants(world, strategy="best_of_n", budget={"samples": 4}, verifier="judge")
    stepwise, _ = await wants(
        world, strategy="beam_search", params={"step_tokens": 10}, budget={"samples": 4}, verifier="judge"
    )
    assert stepwise.tokens == 4 * (50 + 6 * planned.verifier.max_tokens)
    assert stepwise.nano > once.nano


async def test_the_price_is_that_of_each_sample_alone_so_that_no_order_of_calls_costs_more(world):
    one, _ = await wants(world, budget={"samples": 1})
    many, planned = await wants(world, budget={"samples": 8})
    assert many.nano == pytest.approx(8 * one.nano, abs=8)
    ledger = planned.ledger
    ledger.lower(usd=many.nano / 1e9)
    calls = planned.pricing.generator
    charge = calls.charge(len(planned.problem.prompt), [(1, 50)])
    for _ in range(8):
        ledger.settle(ledger.reserve(1, 50, price=lambda *_: charge), 50, charge=charge)
    assert ledger.spent.samples == 8


async def test_what_was_lost_comes_on_top(world):
    some, _ = await wants(world, budget={"samples": 2})
    more, _ = await wants(world, budget={"samples": 2}, lost=Lost(calls=1, tokens=30, usd=1e-6))
    assert more.tokens == some.tokens + 30
    assert more.nano == some.nano + 1000
    assert more.least_tokens == some.least_tokens + 30


async def test_without_a_quota_in_usd_none_are_held(world):
    held, _ = await wants(world, Tenant("t"), budget={"samples": 2})
    assert (held.nano, held.least_nano) == (0, 0)


def test_nano_dollars_are_rounded_up_and_bounded():
    assert [nano(usd) for usd in (0, 1e-9, 1.1e-9, 0.03, 1e9)] == [0, 1, 2, 30_000_000, 10**15]
