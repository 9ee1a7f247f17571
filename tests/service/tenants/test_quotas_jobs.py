"""The account of jobs, which may be begun several times: nothing is charged twice, and nothing taken back."""

from datetime import UTC, datetime

import pytest

from service.tenants.quotas import EPOCH, Held, Quotas, Settlement, Wanted
from service.tenants.tenant import Tenant
from tests.service.tenants.accounts import BY, ended, lapse, stores, today


@pytest.fixture
async def replicas():
    async with stores(2) as opened:
        yield [Quotas(store) for store in opened]


async def as_if_yesterday(quotas, id):
    """Let a run of the tenant `t`, and all that was spent today, be of the day before."""
    async with quotas._store.exchange() as redis:
        key, number = quotas._store.key, (datetime.now(UTC).date() - EPOCH).days
        await redis.rename(key("usage", "t", str(number)), key("usage", "t", str(number - 1)))
        await redis.hset(key("run", "t", id), "day", number - 1)


async def test_jobs_are_held_to_quotas_and_not_to_rates(replicas):
    tenant = Tenant("t", requests_per_second=1, requests_at_once=1, tokens_per_day=25)
    for i in range(2):
        assert await replicas[0].reserve(tenant, f"j{i}", Wanted(BY, 10, 10), job=True) == Held(10, 0, 1)
    assert await ended(replicas[0].reserve(tenant, "j2", Wanted(BY, 10, 10), job=True)) == "quota_exceeded"
    assert await replicas[0].reserve(tenant, "request", Wanted(BY, 5, 5)) == Held(5, 0, 1)


async def test_a_jobs_next_attempt_pays_only_what_is_new(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 80, 16), job=True)
    await replicas[0].settle([Settlement("t", "job", 1, 30, 0, 5)])  # it failed, and is tried again
    assert await replicas[1].reserve(tenant, "job", Wanted(BY, 80, 16), job=True) == Held(80, 0, 2)
    _, day = await today(replicas[0], "t")
    assert (day.spent["tokens"], day.held_tokens, day.spent["requests"]) == (30, 50, 1)
    await replicas[1].settle([Settlement("t", "job", 2, 75, 0, 5)])
    _, day = await today(replicas[0], "t")
    assert (day.spent["tokens"], day.spent["prompt_tokens"], day.held_tokens) == (75, 5, 0)


async def test_an_attempt_takes_the_place_of_one_whose_worker_died(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 90, 90), job=True)
    assert await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 90), job=True) == Held(90, 0, 2)
    running, day = await today(replicas[0], "t")
    assert (running, day.held_tokens) == (1, 90)
    await lapse(replicas[0], "t")
    await today(replicas[0], "t")
    assert await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 90), job=True) == Held(90, 0, 3)
    await replicas[1].settle([Settlement("t", "job", 3, 50, 0, 0)])
    _, day = await today(replicas[0], "t")
    assert (day.spent["tokens"], day.held_tokens) == (50, 0)


async def test_an_attempt_on_another_day_leaves_that_days_account_as_it_is(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 60, 60), job=True)
    await as_if_yesterday(replicas[0], "job")
    assert await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 90), job=True) == Held(90, 0, 2)
    _, (new, old) = await replicas[0].usage("t", 2)
    assert (old.spent["tokens"], old.held_tokens) == (60, 0)
    assert (new.spent.get("tokens", 0), new.held_tokens) == (0, 30)
    await replicas[1].settle([Settlement("t", "job", 2, 85, 0, 5)])
    _, (new, old) = await replicas[0].usage("t", 2)
    assert (old.spent["tokens"], new.spent["tokens"], new.held_tokens) == (60, 25, 0)


async def test_what_was_paid_for_stays_paid_for_when_the_quota_is_lowered(replicas):
    await replicas[0].reserve(Tenant("t", tokens_per_day=100), "job", Wanted(BY, 90, 16), job=True)
    await replicas[0].settle([Settlement("t", "job", 1, 70, 0, 5)])
    lower = Tenant("t", tokens_per_day=50)
    assert await replicas[0].reserve(lower, "job", Wanted(BY, 90, 16), job=True) == Held(70, 0, 2)
    assert await ended(replicas[0].reserve(lower, "other", Wanted(BY, 90, 16))) == "quota_exceeded"


async def test_an_attempt_that_wakes_up_late_takes_nothing_back(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 90, 90), job=True)
    await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 90), job=True)
    await replicas[0].settle([Settlement("t", "job", 1, 20, 0, 4)])
    running, day = await today(replicas[0], "t")
    assert (running, day.held_tokens) == (1, 90)
    await replicas[1].settle([Settlement("t", "job", 2, 70, 0, 8)])
    await replicas[0].settle([Settlement("t", "job", 1, 20, 0, 4)])
    _, day = await today(replicas[0], "t")
    assert (day.spent["tokens"], day.spent["prompt_tokens"]) == (70, 8)


async def test_an_attempt_that_ends_before_it_has_replayed_its_journal_takes_nothing_back(replicas):
    tenant = Tenant("t", tokens_per_day=100, usd_per_day=1)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 90, 16, 900, 1), job=True)
    await replicas[0].settle([Settlement("t", "job", 1, 70, 700, 5)])
    await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 16, 900, 1), job=True)
    await replicas[1].settle([Settlement("t", "job", 2, 0, 0, 0)])
    _, day = await today(replicas[0], "t")
    assert day.spent == {"requests": 1, "tokens": 70, "nano": 700, "prompt_tokens": 5}
    await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 16, 900, 1), job=True)
    await replicas[1].settle([Settlement("t", "job", 3, 80, 800, 6)])
    _, day = await today(replicas[0], "t")
    assert day.spent == {"requests": 1, "tokens": 80, "nano": 800, "prompt_tokens": 6}


async def test_what_was_charged_too_much_is_given_back_to_the_day_that_paid_it(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "job", Wanted(BY, 90, 90), job=True)
    await as_if_yesterday(replicas[0], "job")
    await replicas[1].reserve(tenant, "job", Wanted(BY, 90, 90), job=True)
    await replicas[1].settle([Settlement("t", "job", 2, 40, 0, 5)])
    _, (new, old) = await replicas[0].usage("t", 2)
    assert (old.spent["tokens"], new.spent.get("tokens", 0), new.held_tokens) == (40, 0, 0)
