"""kill -9 of service processes in the middle of jobs: each is done once, and nothing settled is paid twice."""

import asyncio
from collections import Counter

import pytest

from service.journal_file import read_journal
from service.replaying import replay
from strategies.journal import Draw, lost
from tests.cluster.asking import client
from tests.cluster.working import finished, job, submit
from verifiers.workers import Workers

JOBS, KILLS = 200, 10


@pytest.mark.timeout(600)
async def test_two_hundred_jobs_are_each_done_once_though_services_are_killed_ten_times(house):
    for engine in house.engines:
        engine.fault(seconds=0.008)
    before = sum(engine.seen()["calls"] for engine in house.engines)
    ids = await submit(house.url, JOBS)
    for kill in range(KILLS):
        service = house.services[kill % len(house.services)]
        await asyncio.to_thread(service.kill)
        service.start()
        await asyncio.to_thread(service.ready)
    views = await finished(house.url, ids, 240)

    assert Counter(view["status"] for view in views) == {"completed": JOBS}
    assert await finals(house.url, ids) == [1] * JOBS
    lost_calls = settled = 0
    budget = job(0)["scaling"]["budget"]
    workers = Workers()
    async with client(house.url) as http:
        for view in views:
            spent = view["result"]["scaling"]["spent"]
            for unit in ("samples", "tokens", "usd"):
                assert spent[unit] <= budget[unit] * (1 + 1e-9)
            journal = read_journal((await http.get(f"/v1/jobs/{view['id']}/journal")).content)
            gone = lost(journal.records)
            assert (spent["lost"] or {"calls": 0})["calls"] == gone.calls
            assert not gone.calls or view["attempts"] > 1
            again = await replay(journal, workers)
            assert again.differences == ()
            lost_calls += gone.calls
            settled += sum(isinstance(record, Draw) for record in journal.records)
    await workers.close()
    asked = sum(engine.seen()["calls"] for engine in house.engines) - before
    taken_over = sum(view["attempts"] > 1 for view in views)
    print(
        f"{KILLS} kills: {taken_over} of {JOBS} jobs taken over, {settled} calls settled, {lost_calls} lost"
    )
    print(f"the engines were asked {asked} times")
    assert taken_over > 0
    assert asked <= settled + lost_calls


async def finals(url: str, ids: list[str]) -> list[int]:
    """How often each job's events say that it ended."""
    ends = ('"status":"completed"', '"status":"failed"', '"status":"cancelled"')
    found = []
    async with client(url) as http:
        for id in ids:
            events = (await http.get(f"/v1/jobs/{id}/events")).text
            found.append(sum(events.count(end) for end in ends))
    return found
