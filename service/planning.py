"""From a request to a plan: the problem, the strategy, the budget, the verifier and the answer format."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from budgets.ledger import Ledger
from engines.base import Engine
from service.advising import Automatic, automatic
from service.budgeting import ChosenBy, Granted, grant, pricing
from service.constraints import sampling_fields
from service.errors import too_late, undoable, unreadable
from service.messages import check_messages, plain_messages
from service.plan_facts import PlanFacts, request_digest
from service.prompting import prompt_of
from service.schemas import AnswerRequest, ChatRequest, ScalingRequest, VerifierRequest
from service.tenants.allowed import check_allowed
from service.tenants.tenant import ANONYMOUS, Tenant
from service.world import World
from strategies.advice import Advisor
from strategies.auto import Auto
from strategies.base import Problem, Strategy
from strategies.pricing import Pricing
from strategies.registry import BadParameter, build, registry
from verifiers.answers import AnswerFormatError, Answers, make_answers
from verifiers.base import Embedder, Verifier
from verifiers.workers import Workers

if TYPE_CHECKING:
    from service.tracing.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run needs; nothing of it can fail any more but the engine.

    `ledger` has been open, and its seconds have counted, since the request was read. `samples`: the most that are
    drawn. `advisor` and `reasons`: of a plan that was recommended; `alike` is the fixed strategy whose accuracy is
    predicted for it, with so many samples. `rng_seed` seeds the strategy's choices where the request has no seed.
    """

    request: ChatRequest
    model: str
    engine: Engine
    problem: Problem
    strategy: Strategy
    samples: int
    chosen_by: ChosenBy
    ledger: Ledger
    pricing: Pricing
    most_seconds: float
    verifier: Verifier | None
    embedder: Embedder | None
    answers: Answers
    seed: int | None
    rng_seed: int
    tools: bool
    created: int
    alike: tuple[Strategy, int]
    tracing: Tracing | None = None
    advisor: Advisor | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


async def plan(
    world: World,
    request: ChatRequest,
    tenant: Tenant = ANONYMOUS,
    *,
    facts: PlanFacts | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """The plan of a request; the same again with the `facts` of an earlier one.

    Raises ApiError where it cannot be done, with the field and the mend; ValueError for facts of another request.
    """
    if facts is not None:
        return await _again(world, request, facts, clock)
    scaling = request.scaling or ScalingRequest()
    engine, strategy, granted, answers, verifier, sampling, stops = agree(world, request, tenant)
    ledger = Ledger(granted.budget, clock, most_seconds=world.limits.seconds)
    messages = plain_messages(request.messages)
    try:
        async with asyncio.timeout(ledger.seconds_left):
            prompt, limit = await prompt_of(engine, request, messages)
            most = granted.budget.samples
            chosen = Automatic(strategy, (strategy, most), most, limit)
            if isinstance(strategy, Auto):
                chosen = await automatic(
                    world, request, scaling, strategy, granted.budget, len(prompt), limit
                )
                verifier = world.verifier(chosen.verifier, chosen.strategy, engine, answers)
            prices, unpriced = await pricing(world, request.model, verifier, granted.budget)
    except TimeoutError as late:
        raise too_late(ledger.seconds) from late
    ledger.most_samples = chosen.samples
    return Plan(
        request=request,
        model=request.model,
        engine=engine,
        problem=Problem(messages, prompt, chosen.max_tokens, request.n or 1, stops, sampling),
        strategy=chosen.strategy,
        samples=chosen.samples,
        chosen_by="auto" if isinstance(strategy, Auto) else granted.chosen_by,
        ledger=ledger,
        pricing=prices,
        most_seconds=granted.budget.seconds or world.limits.seconds,
        verifier=verifier,
        embedder=world.embedding,
        answers=answers,
        seed=request.seed,
        rng_seed=secrets.randbits(63),
        tools=request.may_call,
        created=int(time.time()),
        alike=chosen.alike,
        tracing=world.tracing,
        advisor=chosen.advisor,
        reasons=chosen.reasons,
        warnings=(*granted.warnings, *chosen.warnings, *unpriced),
    )


class Agreed(NamedTuple):
    """What a request asks for, as it is granted; all but what its engine says."""

    engine: Engine
    strategy: Strategy
    granted: Granted
    answers: Answers
    verifier: Verifier | None
    sampling: dict[str, Any]
    stops: tuple[str, ...]


def agree(world: World, request: ChatRequest, tenant: Tenant) -> Agreed:
    """What a request asks for. Raises ApiError where that cannot be done, whatever its engine says."""
    scaling = request.scaling or ScalingRequest()
    engine = world.engine(request.model)
    check_messages(request.messages, world.limits)
    strategy = _strategy(world, scaling)
    check_allowed(tenant, request.model, strategy.name, scaling.verifier)
    granted = grant(world, request, scaling, split=isinstance(strategy, Auto), tenant=tenant)
    answers = answers_of(request, world.workers)
    verifier = world.verifier(scaling.verifier, strategy, engine, answers)
    return Agreed(engine, strategy, granted, answers, verifier, sampling_fields(request), _stops(request))


async def _again(world: World, request: ChatRequest, facts: PlanFacts, clock: Callable[[], float]) -> Plan:
    """The plan of those facts in this world, with its engine, verifier and embedder."""
    engine = world.engine(facts.model)
    answers = answers_of(request, world.workers)
    verifier = None
    if facts.verifier:
        named: str | VerifierRequest = facts.verifier.name
        asked = request.scaling.verifier if request.scaling else None
        if isinstance(asked, VerifierRequest) and asked.name == named:
            named = asked
        verifier = world.verifier(named, facts.strategy.strategy(), engine, answers)
    priced = facts.prices.generator and await world.tariffs.known(world.model(facts.model))
    return planned_again(
        request,
        facts,
        engine=engine,
        answers=answers,
        verifier=verifier,
        embedder=world.embedding if facts.embeds else None,
        advisor=facts.advisor.advisor(world.thinking) if facts.advisor else None,
        learn=partial(world.tariffs.learn, facts.model) if priced else None,
        tracing=world.tracing,
        clock=clock,
    )


def planned_again(
    request: ChatRequest,
    facts: PlanFacts,
    *,
    engine: Engine,
    answers: Answers,
    verifier: Verifier | None,
    embedder: Embedder | None,
    advisor: Advisor | None = None,
    learn: Callable[[float, float, float], None] | None = None,
    tracing: Tracing | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """The plan of those facts. Raises ValueError where they are of another request."""
    if facts.request != request_digest(request) or facts.model != request.model:
        raise ValueError("these facts are of another request")
    prices, alike = facts.prices, facts.alike.strategy()
    ledger = Ledger(facts.budget.budget(), clock, most_seconds=facts.seconds)
    ledger.most_samples = facts.samples
    return Plan(
        request=request,
        model=facts.model,
        engine=engine,
        problem=_problem(request, facts.prompt, facts.max_tokens),
        strategy=facts.strategy.strategy(),
        samples=facts.samples,
        chosen_by=facts.chosen_by,
        ledger=ledger,
        pricing=Pricing(prices.generator, prices.verifier, prices.embedder, learn),
        most_seconds=facts.seconds,
        verifier=verifier,
        embedder=embedder,
        answers=answers,
        seed=request.seed,
        rng_seed=facts.rng_seed,
        tools=request.may_call,
        created=facts.created,
        alike=(alike, facts.alike_samples),
        tracing=tracing,
        advisor=advisor,
        reasons=facts.reasons,
        warnings=facts.warnings,
    )


def _problem(request: ChatRequest, prompt: tuple[int, ...], max_tokens: int) -> Problem:
    stops, sampling = _stops(request), sampling_fields(request)
    return Problem(plain_messages(request.messages), prompt, max_tokens, request.n or 1, stops, sampling)


def _strategy(world: World, scaling: ScalingRequest) -> Strategy:
    name = scaling.strategy or world.defaults.strategy
    if name not in registry():
        known = ", ".join(registry())
        raise undoable(
            "unknown_strategy", f"There is no strategy {name[:100]!r}. There are {known}.", "scaling.strategy"
        )
    try:
        return build(name, scaling.params or {})
    except BadParameter as error:
        raise unreadable(str(error), f"scaling.params.{error.param}", "invalid_value") from error


def answers_of(request: ChatRequest, workers: Workers) -> Answers:
    """The request's answer format. Raises ApiError."""
    asked = (request.scaling and request.scaling.answer) or AnswerRequest()
    try:
        return make_answers(
            asked.format or "auto",
            pattern=asked.pattern,
            group=asked.group,
            schema=asked.json_schema,
            exclude=asked.exclude or (),
            tools=request.may_call,
            workers=workers,
        )
    except AnswerFormatError as error:
        raise unreadable(str(error), error.param, "invalid_answer_format") from error


def _stops(request: ChatRequest) -> tuple[str, ...]:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    for stop in stops:
        if not stop or len(stop) > 1_000:
            raise unreadable("stop must hold strings of 1 to 1,000 characters.", "stop", "invalid_value")
    return tuple(stops)
