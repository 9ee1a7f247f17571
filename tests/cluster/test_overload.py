"""Twenty times more than the engines can do: some are served as fast as ever, the rest are told at once."""

import asyncio
import json
import time
from dataclasses import dataclass

import aiohttp
import pytest

from tests.cluster.asking import body

STEP, SLOTS, SAMPLES = 0.01, 64, 16
"""Each of the two engines has room for four requests at once, of about a second each."""
BUDGET = {"samples": SAMPLES, "seconds": 20}
TIMES, SECONDS = 20, 30


@dataclass(slots=True)
class Seen:
    """How an answer came: its status, seconds until it was there, and when it said to come again."""

    status: int
    seconds: float
    retry_after: str | None
    body: bytes


async def ask(http: aiohttp.ClientSession, number: int) -> Seen:
    began = time.monotonic()
    async with http.post("/v1/scale", json=body(number, budget=BUDGET)) as answer:
        said = await answer.read()
    return Seen(answer.status, time.monotonic() - began, answer.headers.get("Retry-After"), said)


async def unloaded(http: aiohttp.ClientSession, count: int = 80) -> list[float]:
    """Seconds of requests of all kinds where half of the room is free, in order of size."""
    gate = asyncio.Semaphore(SLOTS // SAMPLES)

    async def one(number: int) -> float:
        async with gate:
            return (await ask(http, number)).seconds

    return sorted(await asyncio.gather(*(one(50 * number) for number in range(count))))


@pytest.mark.timeout(200)
async def test_under_twenty_times_the_load_some_are_served_in_time_and_the_rest_told_at_once(house):
    for engine in house.engines:
        engine.fault(seconds=STEP, slots=SLOTS)
    asking, began = [], time.monotonic()
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(house.url, connector=connections) as http:
        alone = await unloaded(http)
        capacity = len(house.engines) * SLOTS / SAMPLES / (sum(alone) / len(alone))
        memory = [resident(service.pid) for service in house.services]
        began = time.monotonic()
        while (now := time.monotonic() - began) < SECONDS:
            while len(asking) < now * capacity * TIMES:
                asking.append(asyncio.create_task(ask(http, len(asking))))
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*asking)

    served = sorted(answer.seconds for answer in answers if answer.status == 200)
    refused = [answer for answer in answers if answer.status != 200]
    for answer in refused:
        assert answer.status in (429, 503)
        assert int(answer.retry_after or 0) > 0
        assert json.loads(answer.body)["error"]["code"] == "overloaded", answer.body
    told = sorted(answer.seconds for answer in refused)
    p99, p99_told = served[int(0.99 * len(served))], told[int(0.99 * len(told))]
    grown = [resident(s.pid) - before for s, before in zip(house.services, memory, strict=True)]
    print(f"capacity {capacity:.1f}/s, offered {len(asking) / SECONDS:.0f}/s for {SECONDS} s")
    print(
        f"served {len(served)}, p99 {p99:.2f} s (alone {alone[-1]:.2f} s); refused {len(told)}, p99 {p99_told:.3f} s"
    )
    print(f"memory grown by {[round(g / 2**20) for g in grown]} MiB")
    assert len(served) > 0.5 * capacity * SECONDS
    assert len(refused) > 0.5 * len(asking)
    assert p99 < 2 * alone[-1]
    assert max(grown) < 50 * 2**20


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))
