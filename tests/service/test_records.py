import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from budgets.latency import Factors
from budgets.profiles import Profile
from engines.launch import free_port
from service.errors import ApiError
from service.records import Records, ResponseFacts, Verdict
from service.settings import Limits, Settings, load_settings
from service.store.client import Store, StoreUnavailable
from service.thinking import Thinking
from tests.redis_server import stored

HOSTILE = ["", " ", "a:b", "a", "a%3Ab", "*", "../..", "\n", "日本", "x" * 128, "a:b:c", "{a}", "NaN"]
FACTS = ResponseFacts("m", "sums", "majority", 8)


def one_more(profile: Profile) -> Profile:
    return replace(profile, feedback=profile.feedback + 1)


@pytest.fixture
async def replicas():
    """Two services' records in one store."""
    settings = stored(Settings())
    stores = [Store(settings) for _ in range(2)]
    for store in stores:
        await store.start()
    thinking = Thinking()
    yield [Records(store, Limits(), thinking) for store in stores]
    await thinking.close()
    for store in stores:
        await store.stop()


@pytest.fixture
async def records(replicas):
    return replicas[0]


@pytest.fixture
async def without():
    """Records whose store is down."""
    store = Store(load_settings(redis_url=f"redis://127.0.0.1:{free_port()}"))
    await store.start()
    thinking = Thinking()
    yield Records(store, Limits(), thinking)
    await thinking.close()
    await store.stop()


async def test_what_one_replica_keeps_another_has_and_nothing_kept_is_the_prior(replicas):
    one, other = replicas
    assert await one.profile("m", "t") == Profile.prior()
    kept = replace(Profile.prior(), source="calibrated", problems=7, samples=70, cap=100)
    await one.keep_profile("m", "t", kept)
    assert await other.profile("m", "t") == kept
    assert await other.profile("m", "u") == await other.profile("n", "t") == Profile.prior()


async def test_names_of_any_form_are_apart(records):
    for n, task in enumerate(HOSTILE):
        await records.keep_profile("a", task, replace(Profile.prior(), feedback=n))
    await records.keep_profile("a:b", "c", replace(Profile.prior(), feedback=99))
    assert [(await records.profile("a", task)).feedback for task in HOSTILE] == [*range(len(HOSTILE))]
    told = {(one["model"], one["task"]) for one in await records.summaries()}
    assert told == {("a", task) for task in HOSTILE} | {("a:b", "c")}


async def test_changes_at_once_in_two_replicas_are_all_made(replicas):
    changes = [records.update_profile("m", "t", one_more) for records in replicas for _ in range(15)]
    await asyncio.gather(*changes)
    assert (await replicas[0].profile("m", "t")).feedback == 30
    (summary,) = await replicas[1].summaries()
    assert summary["feedback"] == 30


async def test_a_verdict_counts_once_however_many_tell_it_at_once(replicas):
    for n in range(5):
        replicas[0].keep_response(f"id{n}", FACTS)
    await replicas[0].writer.drain()
    told = [
        records.judge(f"id{n}", FACTS, Verdict(correct, "sums"), one_more)
        for n in range(5)
        for records in replicas
        for correct in (True, False)
    ]
    answers = await asyncio.gather(*told)
    for n in range(5):
        mine = answers[4 * n : 4 * n + 4]
        assert [counted for _, counted, _ in mine].count(True) == 1
        assert len({counts for counts, _, _ in mine}) == 1
    assert (await replicas[1].profile("m", "sums")).feedback == 5


async def test_facts_are_there_at_once_and_for_their_time(replicas):
    one, other = replicas
    facts = ResponseFacts("m", "t", "best_of_n", 4, {"select": "softmax"}, "judge", 2)
    one.keep_response("id", facts)
    assert await one.response("id") == facts
    assert await other.response("id") == facts
    async with one._store.exchange() as redis:
        left = await redis.ttl(one._store.key("response", "id"))
    assert 7 * 86_400 - 60 < left <= 7 * 86_400


@pytest.mark.parametrize("id", ["unknown", "*", "", "id:1"])
async def test_an_unknown_response_is_a_404(records, id):
    with pytest.raises(ApiError) as refused:
        await records.response(id)
    assert (refused.value.status, refused.value.code, refused.value.param) == (
        404,
        "response_not_found",
        "id",
    )


async def test_a_response_that_expires_before_its_verdict_is_a_404(records):
    with pytest.raises(ApiError) as refused:
        await records.judge("gone", FACTS, Verdict(True, "sums"), one_more)
    assert refused.value.code == "response_not_found"
    assert (await records.profile("m", "sums")).feedback == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"difficulty": 1}', "\xff", "null", "NaN"])
async def test_what_cannot_be_read_counts_as_absent_and_is_told(records, text):
    store = records._store
    kept = {"profile": store.key("profile", "m", "t"), "factors": store.key("factors", "m")}
    async with store.exchange() as redis:
        for key in (*kept.values(), store.key("response", "id")):
            await redis.set(key, text.encode("latin-1"))
        await redis.hset(store.key("profiles"), "broken", text.encode("latin-1"))
    with capture_logs() as logs:
        assert await records.profile("m", "t") == Profile.prior()
        assert await records.factors("m") == Factors()
        with pytest.raises(ApiError):
            await records.response("id")
    assert {line["event"] for line in logs} == {"unreadable_record"}
    await records.update_profile("m", "t", one_more)
    assert (await records.profile("m", "t")).feedback == 1


async def test_factors_are_kept(replicas):
    factors = Factors().observed(0.1, 0.5, 1.0)
    await replicas[0].keep_factors("m", factors)
    assert await replicas[1].factors("m") == factors
    assert await replicas[1].factors("n") == Factors()


async def test_there_are_so_many_profiles_and_no_more(records):
    few = Records(records._store, Limits(profiles=2), records._thinking)
    for task in ("a", "b", "a"):
        await few.update_profile("m", task, one_more)
    with pytest.raises(ApiError) as refused:
        await few.update_profile("m", "c", one_more)
    assert (refused.value.status, refused.value.code) == (422, "too_many_profiles")
    assert "limits.profiles" in refused.value.message
    assert await few.profile("m", "c") == Profile.prior()


async def test_a_change_that_fails_leaves_all_as_it_was(records):
    def fail(_: Profile) -> Profile:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await records.update_profile("m", "t", fail)
    assert await records.summaries() == []
    await records.update_profile("m", "t", one_more)


async def test_without_the_store_reading_goes_on_and_writing_says_so(without):
    with capture_logs():
        assert await without.profile("m", "t") == Profile.prior()
        assert await without.factors("m") == Factors()
        for call in (
            without.update_profile("m", "t", one_more),
            without.keep_profile("m", "t", Profile.prior()),
            without.keep_factors("m", Factors()),
            without.summaries(),
            without.response("id"),
        ):
            with pytest.raises(StoreUnavailable):
                await call
        without.keep_response("id", FACTS)
        await without.writer.drain()
