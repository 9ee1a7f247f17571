"""A Redis that is killed, paused or full, under load: nothing acknowledged is lost, and nobody hangs."""

import asyncio

import httpx
import pytest

from tests.cluster.asking import body, client, fine
from tests.cluster.working import finished, job, submit

JOBS = 30


class Load:
    """Requests of all kinds, one after another on each of some connections, until it is left."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[httpx.Response] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(4)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _ask(self, number: int) -> None:
        async with client(self.url) as http:
            for n in range(10_000):
                async with asyncio.timeout(20):  # nobody hangs
                    if n % 3 == 0:
                        answer = await http.post("/v1/scale", json=body(n))
                    elif n % 3 == 1:
                        answer = await http.post("/v1/jobs", json=job(n))
                    else:
                        answer = await http.get("/v1/jobs")
                self.answers.append(answer)
                await asyncio.sleep(0.05)

    def check(self) -> list[str]:
        """Every answer is whole or says when to come again; the ids of the jobs that were acknowledged."""
        for answer in self.answers:
            assert answer.status_code in (200, 202, 503), answer.text[:300]
            if answer.status_code == 503 or answer.request.url.path == "/v1/scale":
                fine(answer)
        return [answer.json()["id"] for answer in self.answers if answer.status_code == 202]


def refused(load: Load) -> int:
    return sum(answer.status_code == 503 for answer in load.answers)


async def test_killed_and_started_again_under_load_it_has_lost_no_acknowledged_job(house):
    async with Load(house.url) as load:
        ids = await submit(house.url, JOBS)
        house.redis.kill()
        await asyncio.sleep(2)
        during = refused(load)
        house.redis.start()
        house.redis.ready()
        await asyncio.sleep(3)
    acknowledged = ids + load.check()
    assert during > 0
    views = await finished(house.url, acknowledged, 120)
    assert {view["status"] for view in views} == {"completed"}


async def test_paused_for_five_seconds_it_costs_nobody_an_acknowledged_job(house):
    async with Load(house.url) as load:
        ids = await submit(house.url, JOBS)
        house.redis.pause()
        await asyncio.sleep(5)
        house.redis.resume()
        await asyncio.sleep(3)
    acknowledged = ids + load.check()
    views = await finished(house.url, acknowledged, 120)
    assert {view["status"] for view in views} == {"completed"}


async def test_full_it_refuses_new_jobs_clearly_and_keeps_the_old_ones_whole(house):
    ids = await submit(house.url, JOBS)
    house.redis.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        async with client(house.url) as http:
            answers = [await http.post("/v1/jobs", json=job(n)) for n in range(5)]
    finally:
        house.redis.ask("CONFIG", "SET", "maxmemory", "0")
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert "full" in answer.json()["error"]["message"]
        fine(answer)
    views = await finished(house.url, ids, 120)
    assert {view["status"] for view in views} == {"completed"}


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_without_it_readiness_says_so_and_answers_go_on(house, how):
    house.redis.kill() if how == "killed" else house.redis.pause()
    async with client(house.services[0].url) as http:
        ready = await http.get("/readyz")
        answer = await http.post("/v1/scale", json=body())
    assert ready.status_code == 503
    assert ready.json()["store"] is False
    assert answer.status_code == 200
