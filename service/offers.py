"""What the recommender may choose from: configured models with their profiles and prices, and verifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from service.errors import undoable
from service.settings import CostedConfig
from service.world import World
from verifiers.judge import Judge

if TYPE_CHECKING:
    from budgets.plans import Offer, VerifierOffer
    from budgets.profiles import Profile

FREE: Final = ("self_certainty", "exact", "unit_tests")
ASKING: Final = ("exact", "unit_tests")
"""Verifiers that need something from the request, and so are there only where they are named."""


async def offer(
    world: World,
    model: str,
    profile: Profile,
    prompt_tokens: int,
    room: int,
    verifiers: Sequence[str],
    concurrency: int | None = None,
) -> Offer:
    """The model on a task of that profile, with those verifiers; where its price is not known, without one."""
    from budgets.plans import Offer

    tariff = await world.tariffs.known(world.model(model))
    if tariff and concurrency is not None:
        tariff = replace(tariff, concurrency=concurrency)
    offered = [await _verifier(world, name, model) for name in verifiers]
    return Offer(model, profile, tariff, prompt_tokens, room, tuple(offered))


def available(world: World) -> list[str]:
    """The verifiers that any request may use."""
    return [name for name in world.verifiers.names if name not in ASKING]


def check_verifiers(world: World, names: Sequence[str], param: str) -> None:
    """Raises ApiError 422 for a verifier that there is not."""
    for i, name in enumerate(names):
        check_verifier(world, name, f"{param}.{i}")


def check_verifier(world: World, name: str, param: str) -> None:
    """Raises ApiError 422 where there is no such verifier."""
    if name not in world.verifiers.names:
        known = ", ".join(world.verifiers.names)
        message = f"There is no verifier {name[:100]!r}. There are {known}."
        raise undoable("unknown_verifier", message, param)


async def _verifier(world: World, name: str, model: str) -> VerifierOffer:
    from budgets.plans import VerifierOffer

    if name in FREE:
        return VerifierOffer(name, free=True)
    judging = world.verifiers.judging(name, model)
    config: CostedConfig | None = judging or world.verifiers.configured(name)
    tariff = await world.tariffs.known(config) if config else None
    return VerifierOffer(name, tariff, generates=Judge.max_tokens if judging else 0)
