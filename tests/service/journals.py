"""Journals of runs, as a job's worker keeps them and a client downloads them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from engines.scripted import ScriptedEngine
from service.errors import ApiError
from service.journal_file import write_journal
from service.plan_facts import PlanFacts, facts_of
from service.planning import plan
from service.replies import encode, scaling_outcome
from service.running import run
from service.schemas import ChatRequest, read_chat
from service.settings import Settings, WorldConfig
from service.world import World
from strategies.journal import Journal, Record
from strategies.journal_codec import encode_record
from tests.redis_server import stored
from tests.service.live import MESSAGES
from tests.stand_ins import MODEL

ID = "job-1"


def body(**fields: Any) -> bytes:
    """A request's body."""
    return json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 50} | fields).encode()


def asked(**fields: Any) -> ChatRequest:
    return read_chat(body(**fields))


@asynccontextmanager
async def world_of(
    engine: ScriptedEngine, model: dict[str, Any] | None = None, **config: Any
) -> AsyncGenerator[World]:
    """A world whose one model is `engine`."""
    first = {"name": MODEL, "urls": ["http://127.0.0.1:9"]} | (model or {})
    settings = WorldConfig.model_validate({"models": [first]} | config)
    async with World(stored(Settings()), settings) as world:
        engine._model = MODEL
        world._engines[MODEL] = engine
        yield world


def again(facts: PlanFacts) -> PlanFacts:
    """The facts as a store gives them back."""
    return msgspec.json.decode(msgspec.json.encode(facts), type=PlanFacts)


async def recorded(
    world: World, request: bytes, records: Sequence[Record] = (), facts: PlanFacts | None = None
) -> bytes:
    """The journal's file of a run of that request."""
    planned = await plan(world, read_chat(request), facts=facts)
    facts = facts_of(planned)
    lines = list(map(encode_record, records))

    async def keep(record: Record) -> None:
        lines.append(encode_record(record))

    try:
        result = scaling_outcome(await run(planned, journal=Journal(records, keep)), ID)
    except ApiError as error:
        result = error.body()
    return b"".join(write_journal(ID, request, msgspec.json.encode(facts), lines, encode(result)))
