"""Jobs whose worker dies, sleeps, stops or loses the store: another goes on where the journal ends."""

import asyncio
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from service.journal_file import read_journal, write_journal
from service.replaying import replay
from service.store.client import StoreUnavailable
from service.tenants.tenant import ANONYMOUS, Tenant
from tests.service.jobs.replicas import (
    QUICK,
    SEARCH,
    body,
    ended,
    kill,
    lapse,
    lines_of,
    replicas,
    result_of,
    told,
    without_time,
)
from tests.stand_ins import until

LONG = ["1", "2" * 1000, "3" * 1000]


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as lines:
        yield lines


async def in_second_wave(some, **options):
    """A world that runs a job whose first wave settled, and whose second, of two samples, goes on for long."""
    some.script(LONG, step_seconds=0.01)
    world = await some.worker(**options)
    view = await world.jobs.submit(ANONYMOUS, body(scaling=SEARCH))
    await until(lambda: some.stand_in.running == 2)
    return world, view.id


async def test_a_killed_workers_job_is_finished_by_another_which_asks_only_for_what_was_not_recorded():
    async with replicas() as some:
        first, id = await in_second_wave(some)
        await kill(first)
        await until(lambda: some.stand_in.running == 0)
        engine = some.script(["4", "15"])
        other = await some.worker()
        await lapse(other)
        view = await ended(other, id)
        assert (view.status, view.attempts) == ("completed", 2)
        assert [call.n for call in engine.calls] == [2]
        spent = (await result_of(other, id))["scaling"]["spent"]
        assert spent["samples"] == 3
        assert (spent["lost"]["calls"], spent["lost"]["samples"]) == (1, 2)
        assert other.jobs.metrics.taken_over._value.get() == 1
        assert other.jobs.metrics.replayed._value.get() > 0


async def test_the_journal_of_a_job_that_was_taken_over_gives_its_result_when_it_is_run_again():
    async with replicas() as some:
        first, id = await in_second_wave(some)
        await kill(first)
        await until(lambda: some.stand_in.running == 0)
        some.script(["4", "15"])
        other = await some.worker()
        await lapse(other)
        await ended(other, id)
        journal, result = await other.jobs.kept(ANONYMOUS, id), await other.jobs.result(ANONYMOUS, id)
        file = write_journal(id, journal.request, journal.lines[0], journal.lines[1:], result)
        assert (await replay(read_journal(b"".join(file)), other.workers)).differences == ()


async def test_each_event_is_told_once_whoever_runs_the_job():
    async with replicas() as some:
        first, id = await in_second_wave(some)
        async with asyncio.timeout(5):
            while len(seen := await published(first, id)) < 4:
                await asyncio.sleep(0.01)
        await kill(first)
        await until(lambda: some.stand_in.running == 0)
        some.script(["4", "15"])
        other = await some.worker()
        await lapse(other)
        events = await told(other, id)
        ran = [event for event in events if event["event"] != "job"]
        trace = (await result_of(other, id))["trace"]
        assert [without_time(event) for event in ran] == [without_time(event) for event in trace]
        assert events[: len(seen)] == seen
        statuses = [(e["status"], e["attempt"]) for e in events if e["event"] == "job"]
        assert statuses == [("queued", 0), ("running", 1), ("running", 2), ("completed", 2)]


async def published(world, id):
    _, found = await world.jobs._jobs.events(id, "0-0", 100)
    return [json.loads(data) for _, data in found]


async def test_a_worker_that_slept_past_its_lease_writes_nothing_more():
    async with replicas() as some:
        first, id = await in_second_wave(some)
        wake = sleeping(first)
        some.script(["4", "15"])
        other = await some.worker()
        await lapse(other)
        view = await ended(other, id)
        lines, result = await lines_of(other, id), await result_of(other, id)
        wake()
        await until(lambda: first.jobs.metrics.leases_lost._value.get() == 1)
        await until(lambda: some.stand_in.running == 0)
        assert await other.jobs.get(ANONYMOUS, id) == view
        assert (await lines_of(other, id), await result_of(other, id)) == (lines, result)


def sleeping(world):
    """Let a worker renew nothing and look at nothing, as if its process had been stopped; returns what wakes it."""
    runner = world.jobs._worker
    for loop in runner._loops:
        loop.cancel()
    runner._room = lambda: False
    return runner.start


async def test_a_lease_is_renewed_here_and_in_the_store_for_as_long_as_the_job_runs():
    async with replicas() as some:
        world, id = await in_second_wave(some)
        (lease,) = world.jobs._worker._running.values()
        for _ in range(3):
            before = lease._renewed
            await until(lambda before=before: lease._renewed > before)
            async with world.store.exchange() as redis:
                queue = world.store.key("jobs", "queue", "interactive")
                (entry,) = await redis.xpending_range(queue, "workers", "-", "+", 10)
            assert entry["time_since_delivered"] < QUICK.sure * 1e3
        assert not lease.overdue
        await world.jobs.cancel(ANONYMOUS, id)


async def test_an_append_of_a_worker_that_lost_its_lease_ends_its_run():
    async with replicas() as some:
        some.script(["1", "2" * 80, "15" + " " * 78], step_seconds=0.01)
        first = await some.worker()
        id = (await first.jobs.submit(ANONYMOUS, body(scaling=SEARCH))).id
        await until(lambda: some.stand_in.running == 2)
        sleeping(first)
        other = await some.world()
        await lapse(other)
        held = await other.jobs._jobs.take(QUICK.lease)
        assert (held.id, held.attempt, held.taken_over) == (id, 2, True)
        before = len(await lines_of(other, id))
        await until(lambda: first.jobs.metrics.leases_lost._value.get() == 1)
        assert len(await lines_of(other, id)) == before
        assert (await other.jobs.get(ANONYMOUS, id)).status == "running"


async def test_a_service_that_stops_hands_its_jobs_back_and_another_goes_on_at_once():
    async with replicas() as some:
        first, id = await in_second_wave(some)
        await first.jobs.drain()
        assert some.stand_in.running == 0
        assert (await first.jobs.get(ANONYMOUS, id)).status == "queued"
        engine = some.script(["4", "15"])
        other = await some.world()
        held = await other.jobs._jobs.take(QUICK.lease)
        assert (held.id, held.attempt, held.fruitless, held.taken_over) == (id, 2, 1, False)
        assert await other.jobs._jobs.give_up(held, None, QUICK.lease)
        other = await some.worker()
        assert (await ended(other, id)).status == "completed"
        assert [call.n for call in engine.calls] == [2]


async def test_the_samples_of_all_attempts_together_keep_to_the_cap():
    async with replicas() as some:
        engine = some.script(["1", "2", "3", *["4" * 1000] * 4], step_seconds=0.01)
        world = await some.worker()
        scaling = SEARCH | {"budget": {"samples": 5}}
        id = (await world.jobs.submit(ANONYMOUS, body(scaling=scaling))).id
        await until(lambda: len(engine.calls) == 3 and some.stand_in.running == 2)
        await kill(world)
        await until(lambda: some.stand_in.running == 0)
        assert [call.n for call in engine.calls] == [1, 2, 2]
        engine = some.script(["5", "6"])
        other = await some.worker()
        await lapse(other)
        assert (await ended(other, id)).status == "completed"
        assert [call.n for call in engine.calls] == [2]
        spent = (await result_of(other, id))["scaling"]["spent"]
        assert (spent["samples"], spent["lost"]["samples"]) == (5, 2)


async def test_a_tenant_pays_for_a_job_what_its_result_says_and_what_was_lost():
    tenant = Tenant("acme", tokens_per_day=1_000_000)
    async with replicas() as some:
        some.script(LONG, step_seconds=0.01)
        first = await some.worker()
        await first.tenants.directory.put(tenant)
        id = (await first.jobs.submit(tenant, body(scaling=SEARCH, max_tokens=1_000))).id
        await until(lambda: some.stand_in.running == 2)
        await kill(first)
        some.script(["4", "15"])
        other = await some.worker()
        await lapse(other)
        async with asyncio.timeout(10):
            while not (await other.jobs.get(tenant, id)).ended:
                await asyncio.sleep(0.01)
        spent = json.loads(await other.jobs.result(tenant, id))["scaling"]["spent"]
        _, (today,) = await other.tenants.quotas.usage("acme", 1)
        assert (spent["tokens"], spent["lost"]["tokens"]) == (4, 2_000)
        assert today.spent["tokens"] == spent["tokens"] + spent["lost"]["tokens"]
        assert today.held_tokens == 0


async def test_a_run_waits_for_the_store_and_loses_nothing_where_that_is_back_in_time():
    async with replicas() as some:
        world, id = await in_second_wave(some)
        exchange, down = world.store.exchange, True

        def failing():
            if down:
                raise StoreUnavailable
            return exchange()

        world.store.exchange = failing
        await asyncio.sleep(0.3)
        down = False
        assert some.stand_in.running == 2
        await asyncio.sleep(0.4)
        assert some.stand_in.running == 2
        await world.jobs.cancel(ANONYMOUS, id)


async def test_a_run_ends_before_another_may_take_its_job_where_the_store_stays_away(logs):
    async with replicas() as some:
        brief = replace(QUICK, lease=1.0)
        world, id = await in_second_wave(some, pace=brief)
        other = await some.world()

        def failing():
            raise StoreUnavailable

        world.store.exchange = failing
        await until(lambda: some.stand_in.running == 0)
        assert await other.jobs._jobs.take(brief.lease) is None
        assert [line["event"] for line in logs if line["log_level"] == "error"] == []
        some.script(["4", "15"])
        other = await some.worker(brief)
        assert (await ended(other, id)).status == "completed"
