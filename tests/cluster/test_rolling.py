"""What operators do while clients work: nginx is reloaded, a replica is drained and comes back."""

import asyncio
import signal

import pytest

from tests.cluster.asking import body, client, statuses
from tests.cluster.working import finished, submit

ROUNDS = 3


class Steady:
    """Requests and streams through nginx, on kept connections and new ones, for as long as it is open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers = []
        self.broken: list[str] = []
        self._open = True

    async def __aenter__(self) -> "Steady":
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(12)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await asyncio.gather(*self._tasks)

    async def _ask(self, number: int) -> None:
        async with client(self.url) as http:
            while self._open:
                asked = body(number) | {"stream": number % 3 == 0}
                try:
                    self.answers.append(answer := await http.post("/v1/scale", json=asked))
                    if asked["stream"] and "data: [DONE]" not in answer.text:
                        self.broken.append(answer.text[-200:])
                except Exception as error:
                    self.broken.append(repr(error))
                await asyncio.sleep(0.01)


async def test_no_request_fails_while_nginx_reloads(house):
    for engine in house.engines:
        engine.fault(seconds=0.002)
    async with Steady(house.url) as steady:
        for _ in range(5):
            await asyncio.sleep(0.5)
            house.nginx.reload()
        await asyncio.sleep(0.5)
    assert steady.broken == []
    assert statuses(steady.answers).keys() == {200}
    assert len(steady.answers) > 50


@pytest.mark.timeout(300)
async def test_no_request_and_no_job_fails_while_replicas_are_drained_one_after_another(house):
    for engine in house.engines:
        engine.fault(seconds=0.002)
    async with Steady(house.url) as steady:
        ids = await submit(house.url, 40)
        for service in house.services:
            service.signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 60) == 0, service.said()[-2000:]
            service.start()
            await asyncio.to_thread(service.ready)
    assert steady.broken == []
    assert statuses(steady.answers).keys() == {200}
    views = await finished(house.url, ids, 60)
    assert {view["status"] for view in views} == {"completed"}
    assert sum("Traceback" in service.said() for service in house.services) == 0
