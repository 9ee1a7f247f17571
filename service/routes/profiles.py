"""POST and GET /v1/profiles: what graded samples tell of a model on a task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import undoable, unreadable
from service.offers import available, check_verifier, offer
from service.profile_schemas import ProfileRequest, SampleRequest, read_profile
from service.replies import json_response
from service.schemas import DEFAULT_TASK
from service.serving import read_body, unless_left
from service.tenants.administration import check_admin
from service.world import World

if TYPE_CHECKING:
    from budgets.plans import Offer
    from budgets.profiles import Profile

ROOM = 32_768
"""Tokens of a sample that are reckoned with ahead; lengths within them are where most plans are looked for."""


async def measured(request: Request) -> Response:
    """Fit a profile to graded samples, and keep it."""
    world: World = request.app.state.world
    if world.tenants.required:
        check_admin(request)
    asked = await asyncio.to_thread(_read, await read_body(request, world.limits))
    world.model(asked.model)
    if asked.verifier is not None:
        check_verifier(world, asked.verifier, "verifier")
    summary = await unless_left(request.receive, _fitted(world, asked))
    world.warming.begin(await _offered(world, asked))
    return json_response(summary)


async def profiles(request: Request) -> Response:
    """Summaries of all profiles that are kept."""
    world: World = request.app.state.world
    return json_response({"object": "list", "data": await world.records.summaries()})


def _read(body: bytes) -> ProfileRequest:
    asked = read_profile(body)
    for i, samples in enumerate(asked.problems):
        verdicts: dict[str, bool] = {}
        for n, sample in enumerate(samples):
            _check(asked, sample, verdicts, f"problems.{i}.{n}")
    return asked


def _check(asked: ProfileRequest, sample: SampleRequest, verdicts: dict[str, bool], at: str) -> None:
    """Raises ApiError 400 where a sample contradicts the rest; `verdicts` on its problem's answers are added to."""
    if sample.score is not None and asked.verifier is None:
        message = f"{at}.score is some verifier's. Name it in verifier, or leave the scores out."
        raise unreadable(message, f"{at}.score")
    if asked.max_tokens is not None and sample.tokens > asked.max_tokens:
        message = f"{at}.tokens is {sample.tokens}, and max_tokens {asked.max_tokens}. Correct one of them."
        raise unreadable(message, f"{at}.tokens")
    if sample.answer is not None and verdicts.setdefault(sample.answer, sample.right) != sample.right:
        other = "wrong" if sample.right else "right"
        message = f"{at}.right is {str(sample.right).lower()}, and the same answer to this problem was {other} before. "
        raise unreadable(message + "Grade equal answers alike.", f"{at}.right")


async def _fitted(world: World, asked: ProfileRequest) -> dict[str, Any]:
    async with world.records.fitting:  # one at a time
        try:
            fit = await world.thinking.run(_fit, asked)
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
