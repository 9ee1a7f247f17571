"""One service's jobs, from submission to the end."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from engines.base import EngineUnavailable
from service.errors import ApiError
from service.jobs import worker
from service.tenants.tenant import ANONYMOUS, Tenant
from tests.service.jobs.replicas import QUICK, body, ended, reached, replicas, told
from tests.stand_ins import until

ANSWERS = ["15", "15", "14", "15"]


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def no_backoff(monkeypatch):
    monkeypatch.setattr(worker, "backoff", lambda *_: 0.0)


async def test_a_job_is_run_and_its_result_is_what_scale_would_have_answered():
    async with replicas(ANSWERS) as some:
        world = await some.worker()
        view = await world.jobs.submit(ANONYMOUS, body())
        assert (view.status, view.attempts, view.model) == ("queued", 0, "stand-in")
        done = await ended(world, view.id)
        assert (done.status, done.attempts, done.error) == ("completed", 1, None)
        assert done.created <= done.started <= done.finished
        result = json.loads(await world.jobs.result(ANONYMOUS, view.id))
        assert (result["id"], result["object"]) == (view.id, "scaling.outcome")
        assert [(a["answer"], a["votes"]) for a in result["scaling"]["answers"]] == [("15", 3), ("14", 1)]


async def test_feedback_can_be_given_on_a_jobs_result():
    async with replicas(ANSWERS) as some:
        client = await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        while (await client.get(f"/v1/jobs/{id}")).json()["status"] != "completed":
            await asyncio.sleep(0.01)
        assert (await client.post("/v1/feedback", json={"id": id, "correct": True})).status_code == 200


async def test_events_tell_of_the_run_from_its_queueing_to_its_end():
    async with replicas(ANSWERS) as some:
        world = await some.worker()
        view = await world.jobs.submit(ANONYMOUS, body())
        events = await told(world, view.id)
        kinds = [event.get("status", event["event"]) for event in events]
        assert kinds[:2] == ["queued", "running"]
        assert kinds[-1] == "completed"
        assert {"sample", "votes"} <= set(kinds)
        trace = json.loads(await world.jobs.result(ANONYMOUS, view.id))["trace"]
        assert [event for event in events if event["event"] != "job"] == trace


async def test_a_request_that_cannot_be_done_ends_as_failed_with_the_error_that_scale_answers():
    async with replicas(["an answer that is long"]) as some:
        world = await some.worker()
        wanted = {"budget": {"samples": 1, "tokens": 2}, "verifier": "judge", "strategy": "best_of_n"}
        view = await ended(world, (await world.jobs.submit(ANONYMOUS, body(scaling=wanted))).id)
        assert view.status == "failed"
        assert view.error["code"] == "budget_too_small"
        assert await world.jobs.result(ANONYMOUS, view.id) is None


@pytest.mark.usefixtures("no_backoff")
async def test_a_try_that_the_engine_fails_is_repeated():
    down = EngineUnavailable("The engine is down.")
    async with replicas([down, down, *ANSWERS]) as some:
        world = await some.worker()
        wanted = {"strategy": "majority", "budget": {"samples": 1}}
        view = await ended(world, (await world.jobs.submit(ANONYMOUS, body(scaling=wanted))).id)
        assert (view.status, view.attempts) == ("completed", 3)


@pytest.mark.usefixtures("no_backoff")
async def test_a_job_that_fails_whenever_it_is_tried_ends_with_the_last_error():
    async with replicas([]) as some:
        world = await some.worker(job_attempts=3)
        view = await ended(world, (await world.jobs.submit(ANONYMOUS, body())).id)
        assert (view.status, view.attempts, view.error["code"]) == ("failed", 3, "engine_unavailable")


async def test_a_job_waits_for_its_next_try_without_a_place_among_those_that_run():
    async with replicas([]) as some:
        world = await some.worker(jobs_at_once=1)
        view = await world.jobs.submit(ANONYMOUS, body())
        await reached(world, view.id, lambda view: view.attempts == 1 and view.status == "queued")
        some.script(ANSWERS)
        other = await world.jobs.submit(ANONYMOUS, body())
        assert (await ended(world, other.id)).status == "completed"
        assert (await world.jobs.get(ANONYMOUS, view.id)).status == "queued"


async def test_a_bug_ends_the_job_and_is_told_to_nobody_but_the_log(logs, monkeypatch):
    async with replicas(ANSWERS) as some:
        world = await some.worker()

        async def broken(name):
            raise RuntimeError("s3cret")

        monkeypatch.setattr(world.tenants, "tenant", broken)
        view = await ended(world, (await world.jobs.submit(ANONYMOUS, body())).id)
        assert (view.status, view.error["code"]) == ("failed", "internal_error")
        assert "s3cret" not in str(view)
        assert [line["job"] for line in logs if line["event"] == "bug"] == [view.id]


async def test_interactive_jobs_come_before_those_of_batches():
    async with replicas(lambda _: iter(["15"] * 4)) as some:
        world = await some.world(jobs_at_once=1)
        priorities = ["batch", "batch", "interactive", "interactive"]
        views = [await world.jobs.submit(ANONYMOUS, body(), priority=one) for one in priorities]
        some.script(["15"] * 16)
        await some.worker(jobs_at_once=1)
        done = [await ended(world, view.id) for view in views]
        order = [await started_at(world, view.id) for view in done]
        assert sorted(range(4), key=order.__getitem__) == [2, 3, 0, 1]


async def started_at(world, id):
    """When a job began, as the store's clock and order of events say."""
    found = await world.jobs.events(ANONYMOUS, id, None)
    ids = [event.id async for event in found if event and b'"running"' in event.data]
    return tuple(map(int, ids[0].split("-")))


async def test_more_jobs_than_may_wait_are_refused_and_those_that_run_do_not_count():
    async with replicas() as some:
        engine = some.script(["1" * 1000], step_seconds=0.01)
        world = await some.worker(jobs_waiting=2, jobs_at_once=1)
        one = {"strategy": "majority", "budget": {"samples": 1}}
        first = await world.jobs.submit(ANONYMOUS, body(scaling=one))
        await until(lambda: engine.calls)
        for _ in range(2):
            await world.jobs.submit(ANONYMOUS, body())
        with pytest.raises(ApiError) as refused:
            await world.jobs.submit(ANONYMOUS, body())
        assert (refused.value.status, refused.value.code) == (429, "too_many_jobs")
        assert "Retry-After" in refused.value.headers
        assert len((await world.jobs.page(ANONYMOUS, None, 100))[0]) == 3
        await world.jobs.cancel(ANONYMOUS, first.id)


async def test_an_id_of_ones_own_keeps_one_job_however_often_it_is_submitted():
    async with replicas() as some:
        world = await some.world()
        first = await world.jobs.submit(ANONYMOUS, body(), id="batch_1-0")
        assert await world.jobs.submit(ANONYMOUS, body(seed=7), id="batch_1-0") == first
        with pytest.raises(ApiError, match="no job"):
            await world.jobs.submit(Tenant("other"), body(), id="batch_1-0")


async def test_another_tenants_job_is_as_if_there_were_none():
    async with replicas() as some:
        world = await some.world()
        id, stranger = (await world.jobs.submit(ANONYMOUS, body())).id, Tenant("stranger")
        for ask in (world.jobs.get, world.jobs.result, world.jobs.cancel, world.jobs.kept):
            with pytest.raises(ApiError) as refused:
                await ask(stranger, id)
            assert (refused.value.status, refused.value.code) == (404, "job_not_found")
        with pytest.raises(ApiError, match="no job"):
            await world.jobs.events(stranger, id, None)
        with pytest.raises(ApiError, match="no job"):
            await world.jobs.page(stranger, id, 10)
        assert await world.jobs.page(stranger, None, 10) == ([], False)
        assert (await world.jobs.get(ANONYMOUS, id)).status == "queued"


async def keys(world, begin):
    """The store's keys that begin so."""
    async with world.store.exchange() as redis:
        return [key.decode() for key in await redis.keys(f"{world.store.key()}:{begin}*")]


async def test_jobs_that_ended_are_forgotten_in_time_and_nothing_of_them_stays():
    async with replicas(ANSWERS) as some:
        world = await some.worker(job_seconds=1)
        view = await world.jobs.submit(ANONYMOUS, body())
        await ended(world, view.id)
        async with asyncio.timeout(10):
            while await keys(world, "job:") or await keys(world, "jobs:untold"):
                await asyncio.sleep(0.05)
        assert await world.jobs.page(ANONYMOUS, None, 10) == ([], False)
        assert await keys(world, "jobs:") == [world.store.key("jobs", "queue", "interactive")]


async def test_a_job_that_waits_is_not_forgotten_when_others_are():
    async with replicas(ANSWERS) as some:
        world = await some.world(job_seconds=1)
        gone, waiting = [await world.jobs.submit(ANONYMOUS, body()) for _ in range(2)]
        await world.jobs.cancel(ANONYMOUS, gone.id)
        async with asyncio.timeout(10):
            while [view.id for view in (await world.jobs.page(ANONYMOUS, None, 10))[0]] != [waiting.id]:
                await asyncio.sleep(0.05)


async def test_hooks_hear_of_each_job_that_ended_and_again_where_they_failed():
    heard = []

    async def hook(view):
        heard.append((view.id, view.status))
        if len(heard) == 1:
            raise RuntimeError

    async with replicas(ANSWERS) as some:
        world = await some.worker()
        world.jobs.on_finished.append(hook)
        view = await world.jobs.submit(ANONYMOUS, body())
        await until(lambda: heard)
        async with world.store.exchange() as redis:
            await redis.zadd(world.store.key("jobs", "untold"), {view.id: 0})
        await until(lambda: len(heard) == 2)
        assert set(heard) == {(view.id, "completed")}
        async with asyncio.timeout(5), world.store.exchange() as redis:
            while await redis.zcard(world.store.key("jobs", "untold")):
                await asyncio.sleep(0.01)


async def test_a_service_without_room_leaves_jobs_to_others():
    async with replicas(ANSWERS) as some:
        full = await some.world()
        full.jobs.start(pytest.fail, lambda: False)
        idle = await some.worker()
        view = await full.jobs.submit(ANONYMOUS, body())
        assert (await ended(idle, view.id)).status == "completed"
        assert full.jobs.metrics.begun._value.get() == 0


def test_the_lease_is_at_most_10_seconds_and_a_cancellation_is_seen_within_half_a_second():
    from service.jobs.pace import Pace

    assert Pace().lease <= 10
    assert Pace().watch <= 0.5
    assert Pace().sure < Pace().lease
    assert QUICK.renew < QUICK.sure
