"""Attempts at a run, one after another: what a worker that dies leaves behind, and what the next makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.base import Call, EngineError, EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.advice import Advice
from strategies.base import Outcome, Problem
from strategies.journal import Journal, Record
from strategies.journal_codec import decode_record, encode_record
from strategies.pricing import Pricing
from strategies.registry import build
from strategies.search import Search
from tests.strategies.bench import TARIFF, TableVerifier
from verifiers.answers import make_answers
from verifiers.base import Embedded
from verifiers.workers import Workers

CALL_SECONDS = 1.0
KEEP_SECONDS = 0.125


class Clock:
    """Time that passes where something is called, and nowhere else."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Engine(ScriptedEngine):
    """Each call takes a second."""

    def __init__(self, replies: Sequence[str | EngineError], clock: Clock) -> None:
        super().__init__(cycle(replies))
        self._clock = clock

    async def sample(self, call: Call):
        self._clock.now += CALL_SECONDS
        return await super().sample(call)

    async def stream(self, call: Call):
        self._clock.now += CALL_SECONDS
        async for chunk in super().stream(call):
            yield chunk


class Verifier(TableVerifier):
    """Fails at every third call, and takes half a second."""

    def __init__(self, clock: Clock, tokens: int) -> None:
        super().__init__(lambda text: sum(map(ord, text)) % 10 / 10, max_tokens=tokens, generated=tokens)
        self._clock = clock

    async def score(self, messages, responses, *, seconds=None):
        self._clock.now += CALL_SECONDS / 2
        self.fails = (
            EngineUnavailable("The verifier answered 500.", began=True) if len(self.asked) % 3 == 2 else None
        )
        return await super().score(messages, responses, seconds=seconds)


class Embedder:
    async def embed(self, texts, *, seconds=None):
        return Embedded(tuple((1.0, float(len(text) % 3)) for text in texts), read=5 * len(texts))


class Advisor:
    """Two at a time."""

    async def advise(self, seen, left):
        return Advice(min(2, left), tuple(dict.fromkeys(a for a, _ in seen if a)), None, f"{len(seen)} seen.")


@dataclass
class Attempt:
    """One attempt at a run, from the records of those before it."""

    outcome: Outcome
    search: Search
    ledger: Ledger
    engine: Engine
    records: list[Record]


async def attempt(
    strategy: tuple[str, dict[str, Any]],
    budget: Budget,
    replies: Sequence[str | EngineError],
    records: Sequence[Record] = (),
    *,
    verdict_tokens: int = 1,
    format: str = "text",
    seed: int | None = None,
) -> Attempt:
    kept: list[Record] = []
    clock = Clock()

    async def keep(record: Record) -> None:
        kept.append(record)
        clock.now += KEEP_SECONDS

    engine, ledger = Engine(replies, clock), Ledger(budget, clock)
    workers = Workers()
    search = Search(
        engine,
        Problem(({"role": "user", "content": "?"},), (1, 2, 3), 100),
        ledger,
        make_answers(format, workers=workers),
        verifier=Verifier(clock, verdict_tokens),
        embedder=Embedder(),
        pricing=Pricing(TARIFF, TARIFF, TARIFF),
        advisor=Advisor(),
        seed=seed,
        rng_seed=7,
        journal=Journal(records, keep),
    )
    try:
        outcome = await build(*strategy).run(search)
    finally:
        await workers.close()
    return Attempt(outcome, search, ledger, engine, [*records, *kept])


def sent(records: Sequence[Record]) -> list[bytes]:
    return [encode_record(record) for record in records]


def cut(records: Sequence[Record], share: float) -> list[Record]:
    """The first of the records, as a store gives them back."""
    return [decode_record(line) for line in sent(records[: round(share * len(records))])]


def told(search: Search) -> list[dict[str, Any]]:
    return [{name: fact for name, fact in event.items() if name != "at"} for event in search.trace]
