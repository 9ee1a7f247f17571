"""From a request to a plan: the problem, the strategy, the budget, the verifier and the answer format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.base import Engine, EngineError, Message
from service.constraints import sampling_fields
from service.errors import engine_failed, too_late, undoable, unreadable
from service.messages import plain_messages
from service.schemas import AnswerRequest, BudgetRequest, ChatRequest, ScalingRequest
from service.settings import BudgetConfig
from service.world import World
from strategies.base import Problem, Strategy
from strategies.registry import BadParameter, build, registry
from verifiers.answers import AnswerFormatError, Answers, make_answers
from verifiers.base import Embedder, Verifier

GREEDY = 1e-5
"""Below this temperature vLLM takes the likeliest token, and refuses to draw more than one sample."""

ChosenBy = Literal["request", "effort", "default"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run needs; nothing of it can fail any more but the engine.

    `ledger` has been open, and its seconds have counted, since the request was read.
    """

    model: str
    engine: Engine
    problem: Problem
    strategy: Strategy
    chosen_by: ChosenBy
    ledger: Ledger
    most_seconds: float
    verifier: Verifier | None
    embedder: Embedder | None
    answers: Answers
    seed: int | None
    tools: bool
    created: int
    warnings: tuple[str, ...] = ()


async def plan(world: World, request: ChatRequest, clock: Callable[[], float] = time.monotonic) -> Plan:
    """The plan of a request. Raises ApiError where it cannot be done, with the field and the mend."""
    scaling = request.scaling or ScalingRequest()
    engine = world.engine(request.model)
    _check_messages(world, request)
    strategy = _strategy(world, scaling)
    budget, chosen_by, warnings = _budget(world, request, scaling)
    ledger = Ledger(budget, clock, most_seconds=world.limits.seconds)
    answers = _answers(world, request, scaling.answer or AnswerRequest())
    verifier = world.verifier(scaling.verifier, strategy, engine, answers)
    sampling = sampling_fields(request)
    messages = plain_messages(request)
    try:
        async with asyncio.timeout(ledger.seconds_left):
            prompt, limit = await _prompt(engine, request, messages)
    except TimeoutError as late:
        raise too_late(ledger.seconds) from late
    return Plan(
        model=request.model,
        engine=engine,
        problem=Problem(messages, prompt, limit, request.n or 1, _stops(request), sampling),
        strategy=strategy,
        chosen_by=chosen_by,
        ledger=ledger,
        most_seconds=budget.seconds or world.limits.seconds,
        verifier=verifier,
        embedder=world.embedding,
        answers=answers,
        seed=request.seed,
        tools=request.may_call,
        created=int(time.time()),
        warnings=warnings,
    )


def _check_messages(world: World, request: ChatRequest) -> None:
    most = world.limits.messages
    if len(request.messages) > most:
        raise unreadable(f"messages holds {len(request.messages)}, and at most {most} are taken.", "messages")
    for i, message in enumerate(request.messages):
        if message.content is None and not message.tool_calls:
            raise unreadable(f"messages.{i}.content is missing. Give a text.", f"messages.{i}.content")


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


def _budget(
    world: World, request: ChatRequest, scaling: ScalingRequest
) -> tuple[Budget, ChosenBy, tuple[str, ...]]:
    asked = scaling.budget
    chosen_by: ChosenBy = "request" if request.scaling else "default"
    caps: BudgetRequest | BudgetConfig = world.defaults.budget
    if request.reasoning_effort is not None:
        if asked is not None:
            message = "reasoning_effort and scaling.budget both set the budget. Give one of them."
            raise unreadable(message, "reasoning_effort")
        efforts = world.defaults.effort
        if request.reasoning_effort not in efforts:
            known = ", ".join(efforts)
            message = f"There is no effort {request.reasoning_effort[:100]!r}. There are {known}."
            raise unreadable(message, "reasoning_effort", "unknown_effort")
        caps, chosen_by = efforts[request.reasoning_effort], "effort"
    elif asked is not None:
        caps = asked
        _check_units(world, asked)
    samples = min(caps.samples or world.defaults.budget.samples, world.limits.samples)
    warnings: tuple[str, ...] = ()
    greedy = request.temperature is not None and request.temperature < GREEDY
    if greedy and samples > 1:
        samples, warnings = 1, ("At temperature 0 all samples are equal, so one was drawn.",)
    wanted = request.n or 1
    if wanted > samples:
        message = (
            f"n asks for {wanted} answers from {samples} samples. Raise scaling.budget.samples or lower n."
        )
        if greedy:
            message = (
                f"At temperature 0 there is one answer, and n asks for {wanted}. Raise it, or ask for n: 1."
            )
        raise undoable("budget_too_small", message, "n")
    tokens = min(caps.tokens or world.limits.tokens, world.limits.tokens)
    seconds = caps.seconds and min(caps.seconds, world.limits.seconds)
    return Budget(samples, tokens, seconds), chosen_by, warnings


def _check_units(world: World, asked: BudgetRequest) -> None:
    for unit in ("eflops", "usd"):
        if getattr(asked, unit) is not None:
            message = f"A budget in {unit} needs the cost law, which is not there yet. Give samples, tokens or seconds."
            raise undoable("unit_unavailable", message, f"scaling.budget.{unit}")
    for unit in ("samples", "tokens", "seconds"):
        value, most = getattr(asked, unit), getattr(world.limits, unit)
        if value is not None and value > most:
            message = (
                f"scaling.budget.{unit} is {value}, and at most {most} are given to one request. Lower it."
            )
            raise unreadable(message, f"scaling.budget.{unit}", "above_limit")


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
