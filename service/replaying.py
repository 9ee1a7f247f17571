"""Running a journal again without an engine or a verifier: the same outcome, or what differs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, Final

import msgspec

from engines.base import Call, Chunk, Generation, Message, Usage
from service.errors import ApiError
from service.journal_file import JournalError, JournalFile
from service.plan_facts import VerifierFacts
from service.planning import Plan, answers_of, planned_again
from service.replies import encode, scaling_outcome
from service.running import run
from strategies.journal import Journal
from strategies.recording import JournalMismatch
from verifiers.base import Embedded, Response, Verdict, Verifier
from verifiers.self_certainty import SelfCertainty
from verifiers.workers import Workers

MOST_DIFFERENCES: Final = 5
TIMES: Final = ("at", "seconds")
"""What a replay takes no time for."""


class NotRecorded(Exception):
    """The run asks for more than its journal holds."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a journal: the body that `/v1/scale` would answer, and the places where the recorded result differs,
    none where there is no result to compare with."""

    outcome: dict[str, Any]
    differences: tuple[str, ...]


async def replay(journal: JournalFile, workers: Workers) -> Replayed:
    """Run a journal again. Raises JournalError where it does not hold a whole run of its request."""
    plan, records = _plan(journal, workers), Journal(journal.records)
    try:
        outcome = scaling_outcome(await run(plan, journal=records), journal.id)
    except ApiError as error:
        outcome = error.body()
    except (JournalMismatch, NotRecorded, ValueError) as error:
        if journal.result is None and isinstance(error, NotRecorded):
            raise JournalError(
                f"it holds no result, as where its job was cancelled or failed: {error}"
            ) from error
        raise JournalError(f"it does not hold a run of its request: {error}") from error
    if records.unused:
        raise JournalError(f"it holds {records.unused} records that a run of its request does not ask for")
    _check_caps(plan)
    replayed: dict[str, Any] = msgspec.json.decode(encode(outcome))
    return Replayed(replayed, _compared(replayed, journal.result))


def _plan(journal: JournalFile, workers: Workers) -> Plan:
    request, facts = journal.request, journal.facts
    try:
        return planned_again(
            request,
            facts,
            engine=_NoEngine(facts.model),
            answers=answers_of(request, workers),
            verifier=_verifier(facts.verifier) if facts.verifier else None,
            embedder=_NoEmbedder() if facts.embeds else None,
        )
    except (ApiError, ValueError) as error:
        raise JournalError(f"line 1: {error}") from error


def _check_caps(plan: Plan) -> None:
    """Raises JournalError where the run that was recorded spent more than it was granted."""
    spent, budget = plan.ledger.spent, plan.ledger.budget
    amounts = {
        "samples": spent.samples,
        "tokens": spent.tokens,
        "eflops": spent.charge.eflops,
        "usd": spent.charge.usd,
    }
    for unit, amount in amounts.items():
        cap = getattr(budget, unit)
        if cap is not None and amount > cap * (1 + 1e-9):
            raise JournalError(f"its run spent {amount:g} {unit}, and was granted {cap:g}")


def _compared(outcome: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[str, ...]:
    if result is None:
        return ()
    if "error" in result or "error" in outcome:
        # The sentences may name seconds.
        codes = [reply["error"].get("code") if "error" in reply else None for reply in (outcome, result)]
        return () if codes[0] == codes[1] else ("error.code",)
    return tuple(islice(_differences(outcome, result, ""), MOST_DIFFERENCES))


def _differences(one: Any, other: Any, place: str) -> Iterator[str]:
    """The places where two JSON values differ, times left out."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other} - {*TIMES}):
            yield from _differences(one.get(name), other.get(name), f"{place}.{name}".strip("."))
    elif isinstance(one, list) and isinstance(other, list):
        for i, (left, right) in enumerate(zip_longest(one, other)):
            yield from _differences(left, right, f"{place}.{i}")
    elif one != other:
        yield place


class _NoEngine:
    """An engine of that name that is never to be called."""

    def __init__(self, model: str) -> None:
        self.model = model

    async def context_length(self) -> int:
        raise NotRecorded("it asks for the model's context")

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        raise NotRecorded("it asks for token ids")

    async def sample(self, call: Call) -> Generation:
        raise NotRecorded(f"it ends before a call for {len(call.prompts) * call.n} samples")

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        raise NotRecorded(f"it ends before a call for {len(call.prompts) * call.n} samples")
        yield

    async def ready(self) -> bool:
        return False

    async def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _NoVerifier:
    """A verifier that is never to be called."""

    name: str
    needs_logprobs: bool
    max_tokens: int
    instant: bool

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        raise NotRecorded(f"it ends before {self.name} scored {len(responses)} responses")


class _NoEmbedder:
    """An embedder that is never to be called."""

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        raise NotRecorded(f"it ends before {len(texts)} texts were embedded")


def _verifier(facts: VerifierFacts) -> Verifier:
    """One that scores by the samples alone is there; of others the scores are recorded."""
    if not facts.instant:
        return _NoVerifier(facts.name, facts.needs_logprobs, facts.max_tokens, instant=False)
    if facts.name != SelfCertainty.name:
        raise ValueError(f"{facts.name[:100]!r} is no verifier that scores by the samples alone")
    return SelfCertainty()
