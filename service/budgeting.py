"""What a request may spend: its caps, within the service's limits, and what calls cost under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from budgets.budget import Budget
from budgets.tariff import Tariff
from service.errors import undoable, unreadable
from service.schemas import BudgetRequest, ChatRequest, ScalingRequest
from service.settings import BudgetConfig
from service.world import World
from strategies.pricing import Pricing
from verifiers.base import Verifier

GREEDY = 1e-5
"""Below this temperature vLLM takes the likeliest token, and refuses to draw more than one sample."""

ChosenBy = Literal["request", "effort", "default", "auto"]
PRICED: tuple[Literal["eflops", "usd"], ...] = ("eflops", "usd")


@dataclass(frozen=True, slots=True)
class Granted:
    """The caps of a request, and who chose them."""

    budget: Budget
    chosen_by: ChosenBy
    warnings: tuple[str, ...] = ()


def grant(world: World, request: ChatRequest, scaling: ScalingRequest, *, split: bool = False) -> Granted:
    """The caps of a request. With `split`, samples that are not capped are up to whoever splits the other caps.

    Raises ApiError where they cannot be read or granted.
    """
    caps, chosen_by = _caps(world, request, scaling)
    most = world.limits.samples
    samples = min(caps.samples or (most if split else world.defaults.budget.samples), most)
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
    return Granted(Budget(samples, tokens, seconds, caps.eflops, caps.usd), chosen_by, warnings)


async def pricing(
    world: World, model: str, verifier: Verifier | None, budget: Budget
) -> tuple[Pricing, tuple[str, ...]]:
    """What calls cost, and warnings. Raises ApiError 422 where a cap is on a price that is not known."""
    config = world.model(model)
    capped = next((unit for unit in PRICED if getattr(budget, unit) is not None), None)
    if capped is None:
        generator = await world.tariffs.known(config)
    else:
        generator = await world.tariffs.of(config, f"scaling.budget.{capped}")
        if budget.usd is not None and generator.usd_per_hour is None:
            message = f"The price of {model} is not known. Configure its usd_per_hour, or give another cap."
            raise undoable("price_required", message, "scaling.budget.usd")
    judging, warnings = await _verifying(world, verifier, budget)
    embedding = world.verifiers.embedding_config
    embedder = await world.tariffs.known(embedding) if embedding else None

    def learn(prefill: float, decode: float, measured: float) -> None:
        world.tariffs.learn(model, prefill, decode, measured)

    return Pricing(generator, judging, embedder, learn if generator else None), warnings


async def _verifying(
    world: World, verifier: Verifier | None, budget: Budget
) -> tuple[Tariff | None, tuple[str, ...]]:
    """The tariff of the verifier's model; a warning where a cap is to hold and its price is not known."""
    if verifier is None or world.verifiers.free(verifier):
        return None, ()
    config = world.verifiers.costed(verifier)
    found = await world.tariffs.known(config) if config else None
    if found is None and budget.priced:
        mend = "configure the path and the hardware of its model."
        return None, (f"What {verifier.name} costs is not known, and no cap holds it: {mend}",)
    if found and found.usd_per_hour is None and budget.usd is not None:
        return found, (
            f"{verifier.name} has no price, and its USD are not counted: configure its usd_per_hour.",
        )
    return found, ()


def _caps(
    world: World, request: ChatRequest, scaling: ScalingRequest
) -> tuple[BudgetRequest | BudgetConfig, ChosenBy]:
    asked, effort = scaling.budget, request.reasoning_effort
    if effort is not None:
        if asked is not None:
            message = "reasoning_effort and scaling.budget both set the budget. Give one of them."
            raise unreadable(message, "reasoning_effort")
        efforts = world.defaults.effort
        if effort not in efforts:
            known = ", ".join(efforts)
            message = f"There is no effort {effort[:100]!r}. There are {known}."
            raise unreadable(message, "reasoning_effort", "unknown_effort")
        return efforts[effort], "effort"
    chosen_by: ChosenBy = "request" if request.scaling else "default"
    if asked is None:
        return world.defaults.budget, chosen_by
    _check_limits(world, asked)
    return asked, chosen_by


def _check_limits(world: World, asked: BudgetRequest) -> None:
    for unit in ("samples", "tokens", "seconds"):
        value, most = getattr(asked, unit), getattr(world.limits, unit)
        if value is not None and value > most:
            message = (
                f"scaling.budget.{unit} is {value}, and at most {most} are given to one request. Lower it."
            )
            raise unreadable(message, f"scaling.budget.{unit}", "above_limit")
