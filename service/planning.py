"""From a request to a plan: the problem, the strategy, the budget, the verifier and the answer format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from budgets.ledger import Ledger
from engines.base import Engine, EngineError, Message
from service.advising import Automatic, automatic
from service.budgeting import ChosenBy, grant, pricing
from service.constraints import sampling_fields
from service.errors import engine_failed, too_late, undoable, unreadable
from service.messages import check_messages, plain_messages
from service.schemas import AnswerRequest, ChatRequest, ScalingRequest
from service.world import World
from strategies.advice import Advisor
from strategies.auto import Auto
from strategies.base import Problem, Strategy
from strategies.pricing import Pricing
from strategies.registry import BadParameter, build, registry
from verifiers.answers import AnswerFormatError, Answers, make_answers
from verifiers.base import Embedder, Verifier


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run needs; nothing of it can fail any more but the engine.

    `ledger` has been open, and its seconds have counted, since the request was read. `samples`: the most that are
    drawn. `advisor` and `reasons`: of a plan that was recommended; `alike` is the fixed strategy whose accuracy is
    predicted for it, with so many samples.
    """

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
    tools: bool
    created: int
    alike: tuple[Strategy, int]
    advisor: Advisor | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


async def plan(world: World, request: ChatRequest, clock: Callable[[], float] = time.monotonic) -> Plan:
    """The plan of a request. Raises ApiError where it cannot be done, with the field and the mend."""
    scaling = request.scaling or ScalingRequest()
    engine = world.engine(request.model)
    check_messages(request.messages, world.limits)
    strategy = _strategy(world, scaling)
    granted = grant(world, request, scaling, split=isinstance(strategy, Auto))
    ledger = Ledger(granted.budget, clock, most_seconds=world.limits.seconds)
    answers = _answers(world, request, scaling.answer or AnswerRequest())
    verifier = world.verifier(scaling.verifier, strategy, engine, answers)
    sampling, stops = sampling_fields(request), _stops(request)
    messages = plain_messages(request.messages)
    try:
        async with asyncio.timeout(ledger.seconds_left):
            prompt, limit = await _prompt(engine, request, messages)
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
        tools=request.may_call,
        created=int(time.time()),
        alike=chosen.alike,
        advisor=chosen.advisor,
        reasons=chosen.reasons,
        warnings=(*granted.warnings, *chosen.warnings, *unpriced),
    )


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


def _answers(world: World, request: ChatRequest, asked: AnswerRequest) -> Answers:
    try:
        return make_answers(
            asked.format or "auto",
            pattern=asked.pattern,
            group=asked.group,
            schema=asked.json_schema,
            exclude=asked.exclude or (),
            tools=request.may_call,
            workers=world.workers,
        )
    except AnswerFormatError as error:
        raise unreadable(str(error), error.param, "invalid_answer_format") from error


def _stops(request: ChatRequest) -> tuple[str, ...]:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    for stop in stops:
        if not stop or len(stop) > 1_000:
            raise unreadable("stop must hold strings of 1 to 1,000 characters.", "stop", "invalid_value")
    return tuple(stops)


async def _prompt(
    engine: Engine, request: ChatRequest, messages: tuple[Message, ...]
) -> tuple[tuple[int, ...], int]:
    """The prompt's token ids, and the most tokens that a sample may have."""
    tools: list[dict[str, Any]] = []
    if request.tools and request.may_call:
        tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
    try:
        prompt = await engine.tokenize(messages, tools=tools, template=request.chat_template_kwargs)
        context = await engine.context_length()
    except EngineError as error:
        raise engine_failed(error) from error
    if not prompt:
        raise unreadable(
            "messages make an empty prompt. Give at least one of them a text.", "messages", "empty_prompt"
        )
    room = context - len(prompt)
    if room < 1:
        message = f"The prompt has {len(prompt)} tokens, and {request.model} takes {context} in all. Shorten messages."
        raise unreadable(message, "messages", "context_length_exceeded")
    field, asked = _most_tokens(request)
    if asked and asked > room:
        message = (
            f"{field} is {asked}, but a prompt of {len(prompt)} tokens leaves {room} of {context}. Lower it."
        )
        raise unreadable(message, field, "context_length_exceeded")
    return prompt, asked or room


def _most_tokens(request: ChatRequest) -> tuple[str, int | None]:
    """The field that says how long a sample may be, and what it says."""
    if request.max_completion_tokens is None:
        return "max_tokens", request.max_tokens
    if request.max_tokens not in (None, request.max_completion_tokens):
        message = "max_tokens and max_completion_tokens differ, and mean the same. Give one of them."
        raise unreadable(message, "max_tokens")
    return "max_completion_tokens", request.max_completion_tokens
