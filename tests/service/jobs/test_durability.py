"""Jobs in a store that dies, sleeps and comes back: what was acknowledged is there, and ends once."""

import asyncio
import os
import signal

import pytest
from structlog.testing import capture_logs

from service.errors import ApiError
from service.jobs.pace import Pace
from service.settings import Settings
from service.store.client import StoreUnavailable
from service.tenants.tenant import ANONYMOUS
from tests.service.jobs.replicas import SEARCH, body, ended, replicas, result_of
from tests.service.store.test_embedded import server_of
from tests.stand_ins import until


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as lines:
        yield lines


def own(folder) -> Settings:
    return Settings(data_dir=folder, log_folder=folder)


async def answering(world):
    """Return once the store answers, as it does again after a while."""
    async with asyncio.timeout(15):
        while not await world.store.answers():
            await asyncio.sleep(0.05)


async def test_jobs_that_were_accepted_end_once_though_the_store_is_killed_while_they_come_and_run(
    logs, tmp_path
):
    async with replicas(["15"] * 200, own(tmp_path)) as some:
        world = await some.worker(Pace())
        accepted, refused = [], []
        for number in range(30):
            if number in (10, 20):
                await answering(world)
                os.kill(await server_of(world.store), signal.SIGKILL)
            try:
                accepted.append((await world.jobs.submit(ANONYMOUS, body(), id=f"job_{number}")).id)
            except ApiError as error:
                refused.append((error.status, error.code))
        assert set(refused) == {(503, "store_unavailable")}
        await answering(world)
        # A submission may have been kept whose answer was lost; none that was answered is missing.
        listed = {view.id for view in (await world.jobs.page(ANONYMOUS, None, 100))[0]}
        assert set(accepted) <= listed
        views = [await ended(world, id) for id in listed]
        assert {view.status for view in views} == {"completed"}
        for id in listed:
            spent = (await result_of(world, id))["scaling"]["spent"]
            assert spent["samples"] <= 4
        assert [line for line in logs if line["event"] == "bug"] == []


async def test_a_run_goes_on_when_the_store_is_back_and_asks_for_nothing_twice(logs, tmp_path):
    async with replicas(settings=own(tmp_path)) as some:
        engine = some.script(["1", "2" * 150, "3" * 150, "15", "15", "15", "15"], step_seconds=0.01)
        world = await some.worker()
        id = (await world.jobs.submit(ANONYMOUS, body(scaling=SEARCH))).id
        await until(lambda: some.stand_in.running == 2)
        os.kill(await server_of(world.store), signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            await world.jobs.get(ANONYMOUS, id)
        await answering(world)
        view = await ended(world, id)
        assert (view.status, view.attempts) == ("completed", 1)
        assert [call.n for call in engine.calls] == [1, 2, 4]
        assert (await result_of(world, id))["scaling"]["spent"]["lost"] is None
        assert [line for line in logs if line["event"] == "bug"] == []


async def test_a_stream_of_events_outlives_the_store_and_tells_each_once(tmp_path):
    async with replicas(settings=own(tmp_path)) as some:
        some.script(["1", "2" * 100, "3" * 100, "15", "15", "15", "15"], step_seconds=0.01)
        world = await some.worker()
        id = (await world.jobs.submit(ANONYMOUS, body(scaling=SEARCH))).id
        ids = []
        async for event in await world.jobs.events(ANONYMOUS, id, None):
            if event is None:
                continue
            ids.append(event.id)
            if len(ids) == 3:
                os.kill(await server_of(world.store), signal.SIGKILL)
        assert len(set(ids)) == len(ids)
        _, kept = await world.jobs._jobs.events(id, "0-0", 1_000)
        assert ids == [id for id, _ in kept]
        assert b'"completed"' in kept[-1][1]
