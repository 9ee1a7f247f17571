"""POST and GET /v1/profiles: what graded samples tell of a model on a task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import undoable, unreadable
from service.offers import available, offer
from service.profile_schemas import ProfileRequest, read_profile
from service.replies import json_response
from service.schemas import DEFAULT_TASK
from service.serving import read_body, unless_left
from service.world import World

if TYPE_CHECKING:
    from budgets.plans import Offer
    from budgets.profiles import Profile

ROOM = 32_768
"""Tokens of a sample that are reckoned with ahead; lengths within them are where most plans are looked for."""


async def measured(request: Request) -> Response:
    """Fit a profile to graded samples, and keep it."""
    world: World = request.app.state.world
    asked = read_profile(await read_body(request, world.limits))
    world.model(asked.model)
    _check_scores(asked)
    summary = await unless_left(request.receive, _fitted(world, asked))
    world.warming.begin(await _offered(world, asked))
    return json_response(summary)


async def profiles(request: Request) -> Response:
    """Summaries of all profiles that are kept."""
    world: World = request.app.state.world
    return json_response({"object": "list", "data": await world.records.summaries()})


def _check_scores(asked: ProfileRequest) -> None:
    scored = next(
        (
            f"problems.{i}.{n}.score"
            for i, samples in enumerate(asked.problems)
            for n, sample in enumerate(samples)
            if sample.score is not None
        ),
        None,
    )
    if scored and asked.verifier is None:
        raise unreadable(
            f"{scored} is some verifier's. Name it in verifier, or leave the scores out.", scored
        )


async def _fitted(world: World, asked: ProfileRequest) -> dict[str, Any]:
    async with world.records.fitting:  # one at a time
        try:
            fit = await asyncio.to_thread(_fit, asked)
        except ValueError as error:
            raise undoable("too_few_samples", str(error), "problems") from error

    def change(before: Profile) -> Profile:
        """The fit, with the verifiers that were measured before; here, so that it is quick where it is repeated."""
        return replace(fit, verifiers={**before.verifiers, **fit.verifiers})

    _, summary = await world.records.update_profile(asked.model, asked.task or DEFAULT_TASK, change)
    return summary


async def _offered(world: World, asked: ProfileRequest) -> Offer:
    """The model with all the verifiers that a request may use, as the next recommendation will have it."""
    profile = await world.records.profile(asked.model, asked.task or DEFAULT_TASK)
    return await offer(world, asked.model, profile, 0, ROOM, available(world))


def _fit(asked: ProfileRequest) -> Profile:
    from budgets.profiles import Profile

    return Profile.measured(asked.measurements(), verifier=asked.verifier, cap=asked.max_tokens)


ROUTES = [Route("/v1/profiles", measured, methods=["POST"]), Route("/v1/profiles", profiles)]
