"""POST /v1/feedback: whether an answer was right, for the profile of its model on its task."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import ApiError
from service.logs import logger
from service.metrics import Metrics
from service.profile_schemas import FeedbackRequest, read_feedback
from service.records import ResponseFacts, Verdict, response_not_found
from service.replies import json_response
from service.serving import read_body, unless_left
from service.tenants.tenant import Tenant
from service.world import World
from strategies.registry import BadParameter, build

if TYPE_CHECKING:
    from budgets.profiles import Profile

PREDICTED = ("repeated_sampling", "majority", "best_of_n", "best_of_majority")
"""Strategies whose accuracy the profile predicts, so that a verdict can move it; see `budgets.prediction`."""
MOST_ANSWERS = 128
OPTIONS = ("select", "temperature", "alpha", "accept_at")
"""Parameters of theirs that the prediction knows; see `budgets.prediction.Options`."""


async def feedback(request: Request) -> Response:
    """Count whether an answer was right, once for each response."""
    world: World = request.app.state.world
    metrics: Metrics = request.app.state.metrics
    asked = read_feedback(await read_body(request, world.limits))
    counted = _counted(world, metrics, request.state.tenant, asked)
    return json_response(await unless_left(request.receive, counted))


async def _counted(world: World, metrics: Metrics, tenant: Tenant, asked: FeedbackRequest) -> dict[str, Any]:
    facts = await world.records.response(asked.id)
    if facts.tenant != tenant.name:
        raise response_not_found(asked.id)
    said = Verdict(asked.correct, asked.task or facts.task)
    change = partial(_told, facts, _options(asked.id, facts), asked.correct)
    counts, counted, summary = await world.records.judge(asked.id, facts, said, change)
    if counts.correct != asked.correct:
        before, now = ("right", "wrong") if counts.correct else ("wrong", "right")
        message = f"{asked.id} was said to be {before} before, and is now said to be {now}. The first verdict counts."
        raise ApiError(409, "feedback_conflict", message, param="correct")
    if counted:
        metrics.judged(facts.model, facts.strategy, correct=asked.correct)
    return {
        "id": asked.id,
        "model": facts.model,
        "task": counts.task,
        "counted": counted,
        "profile": summary,
        "warnings": [_unmoved(facts)] if facts.strategy not in PREDICTED else [],
    }


def _options(id: str, facts: ResponseFacts) -> dict[str, Any]:
    """What the prediction needs to know of the strategy's parameters. Raises ApiError 404 where they are none."""
    if facts.strategy not in PREDICTED:
        return {}
    try:
        ran = build(facts.strategy, facts.params)
    except BadParameter as error:
        logger().warning("unreadable_record", what="response", why=str(error)[:300])
        raise response_not_found(id) from error
    given = {name: getattr(ran, name) for name in OPTIONS if hasattr(ran, name)}
    if "temperature" in given:  # below this all the weight is on the highest reward anyway
        given["temperature"] = max(1e-3, given["temperature"])
    return given


def _told(facts: ResponseFacts, given: dict[str, Any], correct: bool, profile: Profile) -> Profile:
    """The profile after the verdict; of a strategy without a prediction it is counted alone."""
    from budgets.prediction import Options, Strategy

    strategy = next((name for name in get_args(Strategy) if name == facts.strategy), None)
    if strategy is None:
        return replace(profile, feedback=profile.feedback + 1)
    options = Options(k=min(facts.k, MOST_ANSWERS), **given)
    return profile.told(strategy, facts.samples, correct, options=options, verifier=facts.verifier)


def _unmoved(facts: ResponseFacts) -> str:
    return f"The accuracy of {facts.strategy} is not predicted, so that the verdict was counted and moved nothing."


ROUTES = [Route("/v1/feedback", feedback, methods=["POST"])]
