"""A service that asks for keys, and clients of it: what the tests of tenants share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from service.settings import Settings
from tests.service.live import Live, live

ADMIN_KEY = "an-admin-key-of-the-tests"


def guarded(**more: Any) -> Settings:
    """Settings under which requests need a key."""
    return Settings(auth="required", admin_key=ADMIN_KEY, **more)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


ADMIN = bearer(ADMIN_KEY)


async def new_key(client: httpx.AsyncClient, tenant: str, **limits: Any) -> str:
    """A key of a tenant with these limits."""
    put = await client.put(f"/v1/admin/tenants/{tenant}", json=limits, headers=ADMIN)
    assert put.status_code == 200, put.text
    made = await client.post("/v1/admin/keys", json={"tenant": tenant}, headers=ADMIN)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@asynccontextmanager
async def asking(
    script: Sequence[str] = ("15",) * 256, settings: Settings | None = None, **config: Any
) -> AsyncGenerator[Live]:
    """A live service that asks for keys."""
    async with live(script, settings or guarded(), **config) as running:
        yield running


async def used(running: Live, key: str, **params: Any) -> Any:
    """What GET /v1/usage says."""
    answer = await running.client.get("/v1/usage", headers=bearer(key), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()
