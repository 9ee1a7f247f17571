"""What a budget should be split into, and what it will buy: the answers of POST /v1/budget/recommend."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from engines.base import EngineError
from service.errors import ApiError, engine_failed, undoable, unreadable
from service.messages import check_messages, plain_messages
from service.offers import available, check_verifiers, offer
from service.recommend_schemas import RecommendRequest
from service.schemas import DEFAULT_TASK
from service.world import World

if TYPE_CHECKING:
    from budgets.plans import Choice, Offer, Recommendation

UNITS: Final = ("eflops", "usd", "seconds", "tokens")
_FIELD = re.compile(r"\b(budget(?:\.[a-z]+)?|target_accuracy|k)\b")


async def recommendation(world: World, asked: RecommendRequest) -> dict[str, Any]:
    """The answer. Raises ApiError where nothing can be recommended, with the field and the mend."""
    models = _models(world, asked)
    if (asked.messages is None) == (asked.prompt_tokens is None):
        both = asked.messages is not None
        message = "messages and prompt_tokens both say" if both else "messages is missing, which says"
        mend = "Give one of them." if both else "Add it, or prompt_tokens, how long it is."
        field, code = ("prompt_tokens", "invalid_request") if both else ("messages", "missing_parameter")
        raise unreadable(f"{message} what is to be answered. {mend}", field, code)
    check_messages(asked.messages or (), world.limits)
    if not asked.target_accuracy and not (asked.budget and asked.budget.model_dump(exclude_none=True)):
        message = (
            "budget and target_accuracy are both missing. Say what may be spent, or how often to be right."
        )
        raise unreadable(message, "budget", "missing_parameter")
    verifiers = available(world) if asked.verifiers is None else list(dict.fromkeys(asked.verifiers))
    check_verifiers(world, verifiers, "verifiers")
    offers = [await _offer(world, asked, model, verifiers) for model in models]
    return reply(await recommended(world, offers, asked))


async def recommended(world: World, offers: list[Offer], asked: RecommendRequest) -> Recommendation:
    """What `budgets.recommend` says, worked out in a thread."""
    try:
        return await world.thinking.run(_recommended, offers, asked, world.limits.samples)
    except ValueError as error:
        raise _impossible(str(error)) from error


def _recommended(offers: list[Offer], asked: RecommendRequest, most: int) -> Recommendation:
    """Imports much: call it in a thread."""
    from budgets.plans import Caps, Wanted
    from budgets.recommend import recommend

    wanted = Wanted(
        Caps(**asked.budget.model_dump()) if asked.budget else Caps(),
        asked.target_accuracy,
        asked.k or 1,
        asked.wrong_answer_cost,
        asked.difficulty,
        most,
    )
    return recommend(offers, wanted)


def reply(found: Recommendation) -> dict[str, Any]:
    """A recommendation in the form of the API."""
    return {
        "plan": asdict(found.choice.plan),
        "predicted": _predicted(found.choice),
        "frontier": [{"plan": asdict(choice.plan), **_predicted(choice)} for choice in found.frontier],
        "reasons": list(found.reasons),
        "warnings": list(found.warnings),
        "axis": found.axis,
    }


def _predicted(choice: Choice) -> dict[str, Any]:
    predicted = asdict(choice.predicted)
    return {"accuracy": predicted["accuracy"], "cost": {unit: predicted[unit] for unit in UNITS}}


def _models(world: World, asked: RecommendRequest) -> list[str]:
    if asked.model is not None and asked.models is not None:
        raise unreadable("model and models both say what may be used. Give one of them.", "models")
    if asked.model is not None:
        world.model(asked.model)
        return [asked.model]
    for i, name in enumerate(asked.models or ()):
        world.model(name, f"models.{i}")
    return list(dict.fromkeys(asked.models or [model.name for model in world.config.models]))


async def _offer(world: World, asked: RecommendRequest, model: str, verifiers: list[str]) -> Offer:
    engine = world.engine(model)
    try:
        context = await engine.context_length()
        prompt = asked.prompt_tokens
        if prompt is None:
            prompt = len(await engine.tokenize(plain_messages(asked.messages or ())))
    except EngineError as error:
        raise engine_failed(error) from error
    if prompt >= context:
        field = "messages" if asked.prompt_tokens is None else "prompt_tokens"
        message = f"The prompt has {prompt} tokens, and {model} takes {context} in all. Shorten it."
        raise unreadable(message, field, "context_length_exceeded")
    profile = await world.records.profile(model, asked.task or DEFAULT_TASK)
    return await offer(world, model, profile, prompt, context - prompt, verifiers, asked.concurrency)


def _impossible(message: str) -> ApiError:
    named = _FIELD.search(message)
    return undoable("no_plan", message, named[1] if named else "budget")
