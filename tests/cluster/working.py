"""Jobs on the cluster: submitted, waited for, and looked over."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import httpx

from tests.cluster.asking import body, client

KINDS: tuple[tuple[str, str | None], ...] = (
    ("majority", None),
    ("best_of_n", "orm"),
    ("particle_filtering", "prm"),
    ("repeated_sampling", "orm"),
)


def job(number: int) -> dict[str, Any]:
    """The body of a job; its strategy goes by its number."""
    strategy, verifier = KINDS[number % len(KINDS)]
    budget = {"samples": 4, "tokens": 4000, "usd": 0.05, "seconds": 120}
    params = {"accept_at": 0.999} if strategy == "repeated_sampling" else None
    return body(number, strategy=strategy, verifier=verifier, budget=budget, params=params)


async def submit(url: str, count: int, *, at_once: int = 16, patience: float = 60.0) -> list[str]:
    """The ids of so many acknowledged jobs; what is refused, or breaks, is sent again with its key."""
    gate = asyncio.Semaphore(at_once)
    run = random.randrange(10**9)

    async def one(http: httpx.AsyncClient, number: int) -> str:
        headers = {"Idempotency-Key": f"job-{run}-{number}"}
        async with gate, asyncio.timeout(patience):
            while True:
                with suppress(httpx.HTTPError):
                    answer = await http.post("/v1/jobs", json=job(number), headers=headers)
                    if answer.status_code == 202:
                        return str(answer.json()["id"])
                    assert answer.status_code in (429, 502, 503), answer.text
                await asyncio.sleep(0.2)

    async with client(url) as http:
        return list(await asyncio.gather(*(one(http, number) for number in range(count))))


async def finished(url: str, ids: list[str], seconds: float) -> list[dict[str, Any]]:
    """What GET says of each job, once it has ended; AssertionError after `seconds`."""
    until = time.monotonic() + seconds
    views: dict[str, dict[str, Any]] = {}
    async with client(url) as http:
        while len(views) < len(ids):
            for id in ids:
                if id not in views:
                    view = await got(http, f"/v1/jobs/{id}")
                    if view and view["status"] in ("completed", "failed", "cancelled"):
                        views[id] = view
            missing = [id for id in ids if id not in views]
            assert time.monotonic() < until, (
                f"{len(missing)} of {len(ids)} jobs have not ended: {missing[:3]}"
            )
            await asyncio.sleep(0.2)
    return [views[id] for id in ids]


async def got(http: httpx.AsyncClient, path: str) -> dict[str, Any] | None:
    """The body of a 200; None where the cluster is not well just now."""
    try:
        answer = await http.get(path)
    except httpx.HTTPError:
        return None
    if answer.status_code == 200:
        return dict(answer.json())
    assert answer.status_code in (502, 503, 504), answer.text
    return None
