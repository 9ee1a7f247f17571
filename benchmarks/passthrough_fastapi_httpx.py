"""The least that a FastAPI service with httpx can do: one engine call for 16 choices, its answer handed on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Response

ENGINE = os.environ["ENGINE_URL"]
SAMPLES = int(os.environ["SAMPLES"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=None) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat_completions(body: dict[str, Any]) -> Response:
    client: httpx.AsyncClient = app.state.client
    answer = await client.post(f"{ENGINE}/v1/chat/completions", json=body | {"n": SAMPLES})
    return Response(answer.content, answer.status_code, media_type="application/json")
