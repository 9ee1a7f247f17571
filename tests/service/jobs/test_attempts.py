"""Jobs that are tried again, and those that are not."""

import asyncio

import pytest
from structlog.testing import capture_logs

from engines.base import EngineUnavailable
from service.jobs import worker
from service.tenants.quotas import Settlement, Wanted
from service.tenants.tenant import ANONYMOUS, Tenant
from strategies.journal import Draw, Opened, Retried
from strategies.journal_codec import decode_record
from tests.service.jobs.replicas import (
    SEARCH,
    body,
    ended,
    kill,
    lapse,
    lines_of,
    reached,
    replicas,
    result_of,
    told,
    without_time,
)
from tests.stand_ins import until


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as lines:
        yield lines


async def test_a_call_that_failed_is_made_again_by_the_next_try_and_what_came_before_is_not(monkeypatch):
    monkeypatch.setattr(worker, "backoff", lambda *_: 0.0)
    async with replicas() as some:
        scaling = {
            "strategy": "particle_filtering",
            "budget": {"samples": 2},
            "params": {"step_tokens": 2},
            "verifier": "self_certainty",
        }
        steps = ["a step", "b step", EngineUnavailable("Gone."), EngineUnavailable("Gone."), "c", "d"]
        engine = some.script(steps)
        world = await some.worker()
        view = await ended(world, (await world.jobs.submit(ANONYMOUS, body(scaling=scaling))).id)
        assert (view.status, view.attempts) == ("completed", 2), view.error
        assert len(engine.calls) == 3
        records = [decode_record(line) for line in (await lines_of(world, view.id))[1:]]
        assert sum(isinstance(record, Retried) for record in records) == 1
        assert len({record.number for record in records if isinstance(record, Opened)}) == sum(
            isinstance(record, Opened) for record in records
        )
        result = await result_of(world, view.id)
        assert result["scaling"]["spent"]["lost"]["calls"] == 1
        events, trace = (list(map(without_time, e)) for e in (await told(world, view.id), result["trace"]))
        retried = events.index({"event": "job", "status": "running", "attempt": 2})
        assert events[2:6] == trace[:4]
        assert events[retried + 1 : -1] == trace[4:]
        assert sum(isinstance(record, Draw) for record in records) == 3


async def test_a_job_that_ends_every_process_that_runs_it_fails_after_so_many(logs):
    async with replicas() as some:
        some.script(["1" * 1000] * 9, step_seconds=0.01)
        world = await some.world()
        id = (await world.jobs.submit(ANONYMOUS, body(scaling=SEARCH))).id
        for attempt in (1, 2):
            victim = await some.worker(job_attempts=2)
            await reached(world, id, lambda view, attempt=attempt: view.attempts == attempt)
            await until(lambda: some.stand_in.running == 1)
            await kill(victim)
            await until(lambda: some.stand_in.running == 0)
            await lapse(world)
        view = await ended(await some.worker(job_attempts=2), id)
        assert (view.status, view.error["code"], view.attempts) == ("failed", "attempts_exhausted", 3)
        assert some.stand_in.running == 0


async def test_attempts_that_got_on_are_not_counted_against_a_job():
    async with replicas() as some:
        world = await some.world()
        id = (await world.jobs.submit(ANONYMOUS, body(scaling=SEARCH))).id
        for script in (["1", *["2" * 1000] * 2], ["3", "4", *["5" * 1000] * 4]):
            some.script(script, step_seconds=0.01)
            victim = await some.worker(job_attempts=1)
            await until(lambda: some.stand_in.running >= 2 and len(some.stand_in.engine.calls) == 2)
            await kill(victim)
            await until(lambda: some.stand_in.running == 0)
            await lapse(world)
        some.script(["15"] * 4)
        view = await ended(await some.worker(job_attempts=1), id)
        assert (view.status, view.attempts) == ("completed", 3)


async def test_a_quota_that_others_hold_is_waited_for_however_often_and_fails_nothing(monkeypatch):
    monkeypatch.setattr(worker, "backoff", lambda *_: 0.01)
    tenant = Tenant("acme", tokens_per_day=1_000)
    async with replicas(["15"] * 4) as some:
        world = await some.worker()
        await world.tenants.directory.put(tenant)
        held = await world.tenants.quotas.reserve(tenant, "another", Wanted(("m", "s"), 1_000, 1_000))
        id = (await world.jobs.submit(tenant, body())).id

        async def reached(condition):
            async with asyncio.timeout(15):
                while not condition(view := await world.jobs.get(tenant, id)):
                    await asyncio.sleep(0.01)
            return view

        waiting = await reached(lambda view: view.attempts > 2 * world.limits.job_attempts)
        assert not waiting.ended
        await world.tenants.quotas.settle([Settlement("acme", "another", held.turn, 0, 0, 0)])
        assert (await reached(lambda view: view.ended)).status == "completed"
