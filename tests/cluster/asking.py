"""Requests to the cluster, as clients send them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx


def body(problem: int = 1, *, strategy: str = "majority", **scaling: Any) -> dict[str, Any]:
    """A request for the simulated model; `scaling` adds to its `scaling`."""
    asked = {"strategy": strategy, "budget": {"samples": 4, "seconds": 20}, "answer": {"format": "number"}}
    message = {"role": "user", "content": f"Problem {problem}"}
    return {"model": "simulated", "messages": [message], "scaling": asked | scaling}


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncGenerator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, **options) as opened:
        yield opened


async def ask_all(url: str, problems: Iterable[int], **asked: Any) -> list[httpx.Response]:
    """The answers to all of them, asked at once."""
    async with client(url) as http:
        posts = (http.post("/v1/scale", json=body(problem, **asked)) for problem in problems)
        return list(await asyncio.gather(*posts))


def statuses(responses: Iterable[httpx.Response]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def fine(response: httpx.Response) -> None:
    """An answer within its budget, or an error in the API's shape that says when to come again."""
    if response.status_code == 200:
        spent, budget = response.json()["scaling"]["spent"], response.json()["scaling"]["budget"]
        for unit in ("samples", "tokens", "eflops", "usd"):
            assert budget[unit] is None or spent[unit] <= budget[unit] * (1 + 1e-9), (unit, spent, budget)
        return
    assert response.headers["content-type"].startswith("application/json"), response.text[:500]
    assert response.json()["error"]["message"]
    assert "Traceback" not in response.text
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) > 0
