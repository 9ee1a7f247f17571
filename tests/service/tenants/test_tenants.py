"""What a run may spend, held and charged: lost calls, cancellations, leases, and a store that comes and goes."""

import asyncio

import pytest

from service.errors import ApiError, undoable
from service.planning import plan
from service.schemas import ChatRequest
from service.store.client import StoreUnavailable
from service.store.script import Script
from service.tenants import scripts, tenants
from service.tenants.quotas import Quotas
from service.tenants.tenant import ADMIN, ANONYMOUS, Tenant
from strategies.journal import Lost
from tests.service.live import MESSAGES
from tests.service.tenants.worlds import world_of
from tests.stand_ins import MODEL

REQUEST = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50, "scaling": {"budget": {"samples": 2}}}


@pytest.fixture
async def world():
    async with world_of() as entered:
        yield entered


async def planned(world, tenant):
    return await plan(world, ChatRequest.model_validate(REQUEST), tenant)


async def today(world, name):
    running, (day,) = await world.tenants.quotas.usage(name, 1)
    return running, day.spent.get("tokens", 0), day.held_tokens


def spend(plan, tokens):
    plan.ledger.settle(plan.ledger.reserve(1, tokens), tokens)


async def test_a_run_is_lowered_to_what_is_left_and_charged_what_it_spent(world):
    tenant = Tenant("t", tokens_per_day=120)
    async with world.tenants.spending(tenant, "a", await planned(world, tenant)) as spending:
        assert spending.plan.ledger.budget.tokens == 100
        assert spending.plan.warnings == ()
        async with world.tenants.spending(tenant, "b", await planned(world, tenant)) as less:
            assert less.plan.ledger.budget.tokens == 20
            assert "lowered" in less.plan.warnings[0]
        spend(spending.plan, 70)
    assert await today(world, "t") == (0, 70, 0)


async def test_a_budget_that_the_quota_made_too_small_is_told_as_the_quotas(world):
    tenant = Tenant("t", tokens_per_day=120)
    async with world.tenants.spending(tenant, "a", await planned(world, tenant)):
        with pytest.raises(ApiError) as told:
            async with world.tenants.spending(tenant, "b", await planned(world, tenant)):
                raise undoable("budget_too_small", "Raise scaling.budget.tokens.")
    assert (told.value.status, told.value.code) == (429, "quota_exceeded")
    rich = Tenant("rich", tokens_per_day=500)
    with pytest.raises(ApiError) as told:
        async with world.tenants.spending(rich, "a", await planned(world, rich)):
            raise undoable("budget_too_small", "Raise scaling.budget.tokens.")
    assert told.value.status == 422


async def test_what_earlier_attempts_lost_is_held_and_charged_besides(world):
    tenant = Tenant("t", tokens_per_day=115)
    lost = Lost(calls=1, tokens=30)
    job = await planned(world, tenant)
    async with world.tenants.spending(tenant, "job", job, interactive=False, lost=lost) as spending:
        assert spending.plan.ledger.budget.tokens == 85
        spend(spending.plan, 40)
    assert await today(world, "t") == (0, 70, 0)


async def test_a_next_attempt_goes_on_from_what_was_charged(world):
    tenant = Tenant("t", tokens_per_day=115)
    for spent in (40, 90):
        again = await planned(world, tenant)
        async with world.tenants.spending(tenant, "job", again, interactive=False) as spending:
            assert spending.plan.ledger.budget.tokens == 100
            spend(spending.plan, min(50, spent))
            spend(spending.plan, max(1, spent - 50))
    assert (await today(world, "t"))[1] == 90


async def test_who_needs_no_key_asks_the_store_for_nothing(world, monkeypatch):
    async def fails(*_, **__):
        raise AssertionError

    monkeypatch.setattr(Quotas, "reserve", fails)
    monkeypatch.setattr(Quotas, "settle", fails)
    async with world.tenants.spending(ANONYMOUS, "a", await planned(world, ANONYMOUS)) as spending:
        assert spending.plan.ledger.budget.tokens == world.limits.tokens


async def test_a_request_that_is_cancelled_while_it_asks_gives_back_what_it_gets(world, monkeypatch):
    reserve, began = Quotas.reserve, asyncio.Event()

    async def slow(self, *given, **more):
        held = await reserve(self, *given, **more)
        began.set()
        await asyncio.sleep(0.05)
        return held

    monkeypatch.setattr(Quotas, "reserve", slow)
    tenant = Tenant("t", tokens_per_day=1000, requests_at_once=1)
    asking = asyncio.create_task(world.tenants.reserve(tenant, "a", await planned(world, tenant)))
    await began.wait()
    assert (await today(world, "t"))[0] == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(5):
        while await today(world, "t") != (0, 0, 0):
            await asyncio.sleep(0.01)


async def test_what_was_held_by_a_reservation_whose_answer_was_lost_is_given_back(world, monkeypatch):
    monkeypatch.setattr("service.store.client.COOLING_SECONDS", 0.0)
    monkeypatch.setattr("service.tenants.settling.RETRY_SECONDS", 0.01)
    run = Script.__call__

    async def losing(self, redis, *given):
        answer = await run(self, redis, *given)
        if self is scripts.RESERVE:
            raise TimeoutError
        return answer

    monkeypatch.setattr(Script, "__call__", losing)
    tenant = Tenant("t", tokens_per_day=1000, requests_at_once=1)
    with pytest.raises(StoreUnavailable):
        await world.tenants.reserve(tenant, "a", await planned(world, tenant))
    async with asyncio.timeout(5):
        while await today(world, "t") != (0, 0, 0):
            await asyncio.sleep(0.01)


async def test_nothing_is_given_back_that_the_store_was_never_asked_for(world, monkeypatch):
    monkeypatch.setattr(world.store, "_down_until", float("inf"))
    tenant = Tenant("t", tokens_per_day=1000)
    plan = await planned(world, tenant)
    for i in range(3):
        with pytest.raises(StoreUnavailable):
            await world.tenants.reserve(tenant, str(i), plan)
    assert world.tenants.settling.waiting == 0


async def test_leases_are_renewed_while_runs_go_on_and_not_after(world, monkeypatch):
    monkeypatch.setattr(tenants, "RENEW_SECONDS", 0.01)
    renewed, renew = [], Quotas.renew

    async def noting(self, held):
        renewed.append(list(held))
        await renew(self, held)

    monkeypatch.setattr(Quotas, "renew", noting)
    tenant = Tenant("t")
    one = await world.tenants.reserve(tenant, "a", await planned(world, tenant))
    other = await world.tenants.reserve(tenant, "b", await planned(world, tenant))
    async with asyncio.timeout(5):
        while [("t", "a"), ("t", "b")] not in renewed:
            await asyncio.sleep(0.01)
        await one.settle()
        while [("t", "b")] not in renewed:
            await asyncio.sleep(0.01)
    await other.settle()
    await other.settle()  # which does nothing
    await asyncio.sleep(0.05)
    told = len(renewed)
    await asyncio.sleep(0.05)
    assert len(renewed) == told


async def test_what_cannot_be_charged_is_charged_once_the_store_is_back(world, monkeypatch):
    settle, down = Quotas.settle, True

    async def failing(self, settlements):
        if down:
            raise StoreUnavailable
        await settle(self, settlements)

    monkeypatch.setattr(Quotas, "settle", failing)
    monkeypatch.setattr("service.tenants.settling.RETRY_SECONDS", 0.01)
    tenant = Tenant("t", tokens_per_day=1000)
    async with asyncio.timeout(5):
        async with world.tenants.spending(tenant, "a", await planned(world, tenant)) as spending:
            spend(spending.plan, 33)
        assert await today(world, "t") == (1, 0, 100)
        down = False
        while await today(world, "t") != (0, 33, 0):
            await asyncio.sleep(0.01)


async def test_the_end_of_the_service_waits_for_a_store_that_is_down_no_longer_than_it_must(monkeypatch):
    monkeypatch.setattr("service.tenants.settling.CLOSE_SECONDS", 0.1)

    async def failing(*_):
        raise StoreUnavailable

    tenant = Tenant("t")
    async with asyncio.timeout(20), world_of() as world:
        monkeypatch.setattr(Quotas, "settle", failing)
        async with world.tenants.spending(tenant, "a", await planned(world, tenant)):
            pass


async def test_a_tenant_that_is_gone_runs_nothing_more(world):
    await world.tenants.directory.put(Tenant("t", requests_at_once=3))
    assert await world.tenants.tenant("t") == Tenant("t", requests_at_once=3)
    assert await world.tenants.tenant("admin") == ADMIN
    assert await world.tenants.tenant("anonymous") == ANONYMOUS
    await world.tenants.directory.remove("t")
    with pytest.raises(ApiError) as told:
        await world.tenants.tenant("t")
    assert (told.value.status, told.value.code) == (403, "not_allowed")


async def test_held_amounts_are_told_with_their_turn(world):
    tenant = Tenant("t")
    first = await world.tenants.reserve(tenant, "job", await planned(world, tenant), interactive=False)
    second = await world.tenants.reserve(tenant, "job", await planned(world, tenant), interactive=False)
    assert (first.turn, second.turn) == (1, 2)
    await first.settle()  # a worker that woke up late
    assert (await today(world, "t"))[0] == 1
    await second.settle()
    await world.tenants.settling.close()
    assert (await today(world, "t"))[0] == 0
