"""The account of tenants: never above a quota, whoever asks at once, and nothing charged twice."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import ApiError
from service.tenants import scripts
from service.tenants.quotas import EPOCH, NANO, Held, Quotas, Settlement, Wanted, burst, nano
from service.tenants.tenant import Tenant
from tests.service.tenants.accounts import BY, ended, lapse, stores, today

CENT = NANO // 100


@pytest.fixture
async def replicas():
    async with stores(2) as opened:
        yield [Quotas(store) for store in opened]


async def test_of_two_replicas_that_race_for_the_last_cent_exactly_one_wins_a_thousand_times(replicas):
    one, other = replicas
    for race in range(1000):
        tenant = Tenant(f"racer{race}", usd_per_day=0.03)
        await one.reserve(tenant, "before", Wanted(BY, 1, 1, 2 * CENT, 2 * CENT))
        wanted = Wanted(BY, 1, 1, CENT, CENT)
        came = await asyncio.gather(
            ended(one.reserve(tenant, "a", wanted)), ended(other.reserve(tenant, "b", wanted))
        )
        assert sorted(map(str, came)) == [str(Held(1, CENT, 1)), "quota_exceeded"], race


async def test_a_crowd_that_asks_at_once_gets_what_there_is_and_no_more(replicas):
    tenant = Tenant("crowd", tokens_per_day=1000)
    asked = [replicas[i % 2].reserve(tenant, f"r{i}", Wanted(BY, 70, 16)) for i in range(60)]
    came = [held for held in await asyncio.gather(*map(ended, asked)) if isinstance(held, Held)]
    assert sorted(held.tokens for held in came) == [20] + [70] * 14


async def test_what_is_left_is_given_and_what_is_of_no_use_is_not(replicas):
    quotas = replicas[0]
    tenant = Tenant("t", tokens_per_day=100, usd_per_day=1e-7)
    assert await quotas.reserve(tenant, "a", Wanted(BY, 90, 16, 60, 10)) == Held(90, 60, 1)
    with pytest.raises(ApiError) as refused:
        await quotas.reserve(tenant, "b", Wanted(BY, 90, 16, 60, 10))
    assert (refused.value.code, refused.value.retry_after) == ("quota_exceeded", 1)
    assert await quotas.reserve(tenant, "c", Wanted(BY, 90, 5, 60, 10)) == Held(10, 40, 1)
    await quotas.settle([Settlement("t", "a", 1, 90, 60, 5), Settlement("t", "c", 1, 10, 40, 5)])
    with pytest.raises(ApiError) as refused:
        await quotas.reserve(tenant, "d", Wanted(BY, 90, 1, 60, 10))
    assert 1 <= refused.value.retry_after <= 86_400
    assert "00:00 UTC" in refused.value.message


async def test_a_refused_request_leaves_no_trace(replicas):
    tenant = Tenant("t", tokens_per_day=10, requests_per_second=1, requests_at_once=1)
    with pytest.raises(ApiError):
        await replicas[0].reserve(tenant, "a", Wanted(BY, 20, 16))
    running, day = await today(replicas[0], "t")
    assert (running, day.spent, day.held_tokens) == (0, {}, 0)
    assert await replicas[0].reserve(tenant, "b", Wanted(BY, 5, 5)) == Held(5, 0, 1)


async def test_requests_per_second_come_in_a_seconds_worth_and_then_at_that_rate(replicas):
    tenant = Tenant("t", requests_per_second=4)
    came = [await ended(replicas[i % 2].reserve(tenant, f"r{i}", Wanted(BY, 1, 1))) for i in range(5)]
    assert came == [Held(1, 0, 1)] * 4 + ["rate_limited"]
    await asyncio.sleep(0.3)
    assert await replicas[0].reserve(tenant, "later", Wanted(BY, 1, 1)) == Held(1, 0, 1)
    slow = Tenant("slow", requests_per_second=0.01)
    await replicas[0].reserve(slow, "a", Wanted(BY, 1, 1))
    with pytest.raises(ApiError) as refused:
        await replicas[1].reserve(slow, "b", Wanted(BY, 1, 1))
    assert 98 <= refused.value.retry_after <= 100
    assert [burst(rate) for rate in (0.01, 1, 2.9, 4)] == [1, 1, 2, 4]


async def test_requests_at_once_are_counted_over_all_replicas_until_they_end(replicas):
    tenant = Tenant("t", requests_at_once=2)
    for i in range(2):
        await replicas[i].reserve(tenant, f"r{i}", Wanted(BY, 1, 1))
    assert await ended(replicas[0].reserve(tenant, "r2", Wanted(BY, 1, 1))) == "rate_limited"
    await replicas[1].settle([Settlement("t", "r0", 1, 1, 0, 0)])
    assert await replicas[0].reserve(tenant, "r2", Wanted(BY, 1, 1)) == Held(1, 0, 1)


async def test_a_command_that_was_sent_twice_holds_once(replicas):
    tenant = Tenant("t", requests_per_second=1, requests_at_once=1, tokens_per_day=100)
    for turn in (1, 2):
        assert await replicas[0].reserve(tenant, "a", Wanted(BY, 60, 60)) == Held(60, 0, turn)
    running, day = await today(replicas[0], "t")
    assert (running, day.spent["requests"], day.held_tokens) == (1, 1, 60)


async def test_to_settle_twice_is_as_once(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 60, 60))
    for replica in replicas:
        await replica.settle([Settlement("t", "a", 1, 42, 7, 3)])
    running, day = await today(replicas[0], "t")
    assert (running, day.held_tokens) == (0, 0)
    assert day.spent == {"requests": 1, "tokens": 42, "nano": 7, "prompt_tokens": 3}
    assert day.by == {BY: day.spent}


async def test_a_lease_that_ran_out_is_charged_in_full_and_made_good_by_a_late_settlement(replicas):
    tenant = Tenant("t", tokens_per_day=100, requests_at_once=1)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 60, 60))
    await lapse(replicas[0], "t")
    running, day = await today(replicas[1], "t")
    assert (running, day.held_tokens, day.spent["tokens"]) == (0, 0, 60)
    assert await replicas[1].reserve(tenant, "b", Wanted(BY, 60, 16)) == Held(40, 0, 1)
    await replicas[0].settle([Settlement("t", "a", 1, 25, 0, 9)])
    _, day = await today(replicas[0], "t")
    assert (day.held_tokens, day.spent["tokens"], day.spent["prompt_tokens"]) == (40, 25, 9)


async def test_a_renewed_lease_does_not_run_out_and_one_that_is_gone_does_not_come_back(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 60, 60))
    await lapse(replicas[0], "t")
    await replicas[0].renew([("t", "a"), ("t", "unknown")])
    running, day = await today(replicas[0], "t")
    assert (running, day.held_tokens) == (1, 60)
    await lapse(replicas[0], "t")
    await today(replicas[0], "t")
    await replicas[0].renew([("t", "a")])
    assert (await today(replicas[0], "t"))[0] == 0


async def test_amounts_are_exact_up_to_a_million_dollars(replicas):
    tenant = Tenant("t", usd_per_day=1e6, tokens_per_day=10**15)
    most = nano(1e6)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 10**15 - 1, 1, most - 1, 1))
    await replicas[0].settle([Settlement("t", "a", 1, 10**15 - 1, most - 1, 0)])
    assert await replicas[0].reserve(tenant, "b", Wanted(BY, 5, 1, 5, 1)) == Held(1, 1, 1)
    _, day = await today(replicas[0], "t")
    assert (day.spent["tokens"], day.spent["nano"]) == (10**15 - 1, most - 1)


async def test_days_are_counted_apart_and_forgotten(replicas):
    tenant = Tenant("t", tokens_per_day=100)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 60, 60))
    _, days = await replicas[0].usage("t", 400)
    assert len(days) == scripts.KEPT_DAYS
    assert [day.held_tokens for day in days] == [60] + [0] * (scripts.KEPT_DAYS - 1)
    async with replicas[0]._store.exchange() as redis:
        number = str((days[0].day - EPOCH).days)
        left = await redis.ttl(replicas[0]._store.key("usage", "t", number))
    assert 0 < left <= scripts.KEPT_DAYS * 86_400


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    quota=st.integers(1, 300),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reserve", "settle", "lapse", "renew"]),
            st.integers(0, 5),
            st.integers(1, 200),
            st.floats(0, 1),
            st.booleans(),
        ),
        max_size=30,
    ),
)
async def test_spent_and_held_never_exceed_the_quota_whatever_happens(quota, steps):
    async with stores(2) as opened:
        replicas = [Quotas(store) for store in opened]
        tenant = Tenant("t", tokens_per_day=quota)
        caps, turns = {}, {}
        for turn, (what, which, tokens, share, job) in enumerate(steps):
            quotas = replicas[turn % 2]
            if what == "reserve":
                id = f"job-{which}" if job else f"run-{turn}"
                held = await ended(quotas.reserve(tenant, id, Wanted(BY, tokens, 1), job=job))
                if isinstance(held, Held):
                    assert held.tokens <= quota
                    caps[id] = held.tokens, caps.get(id, (0, 0))[1]
                    turns[id] = held.turn
            elif what == "settle" and caps:
                id = sorted(caps)[which % len(caps)]
                cap, before = caps[id]
                spent = max(before, int(share * cap))
                await quotas.settle([Settlement("t", id, turns[id], spent, 0, 0)])
                caps[id] = cap, spent
                if not id.startswith("job"):
                    del caps[id]
            elif what == "lapse":
                await lapse(quotas, "t")
            elif what == "renew":
                await quotas.renew([("t", id) for id in caps])
            _, day = await today(quotas, "t")
            assert day.held_tokens >= 0
            assert day.spent.get("tokens", 0) + day.held_tokens <= quota


async def test_a_place_whose_run_the_store_has_forgotten_is_free_again(replicas):
    tenant = Tenant("t", requests_at_once=1)
    await replicas[0].reserve(tenant, "a", Wanted(BY, 10, 10))
    async with replicas[0]._store.exchange() as redis:  # as after days in which nobody asked
        await redis.delete(replicas[0]._store.key("run", "t", "a"))
    assert await ended(replicas[1].reserve(tenant, "b", Wanted(BY, 10, 10))) == "rate_limited"
    await lapse(replicas[0], "t")
    assert await replicas[1].reserve(tenant, "b", Wanted(BY, 10, 10)) == Held(10, 0, 1)
    assert await ended(replicas[0].reserve(tenant, "c", Wanted(BY, 10, 10))) == "rate_limited"
