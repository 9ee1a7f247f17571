"""What a request may spend: its caps, within the service's limits, and what calls cost under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from budgets.budget import Budget, Unit
from budgets.tariff import Tariff
from service.errors import undoable, unreadable
from service.schemas import BudgetRequest, ChatRequest, ScalingRequest
from service.settings import BudgetConfig, Limits
from service.tenants.tenant import ANONYMOUS, Tenant
from service.world import World
from strategies.pricing import Pricing
from verifiers.base import Verifier

GREEDY = 1e-5
"""Below this temperature vLLM takes the likeliest token, and refuses to draw more than one sample."""

Number = TypeVar("Number", int, float)
ChosenBy = Literal["request", "effort", "default", "auto"]
PRICED: tuple[Literal["eflops", "usd"], ...] = ("eflops", "usd")


@dataclass(frozen=True, slots=True)
class Granted:
    """The caps of a request, and who chose them."""

    budget: Budget
    chosen_by: ChosenBy
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest budget of one request, in each unit that is limited."""

    samples: int
    tokens: int
    seconds: float
    eflops: float | None
    usd: float | None


def grant(
    world: World,
    request: ChatRequest,
    scaling: ScalingRequest,
    *,
    split: bool = False,
    tenant: Tenant = ANONYMOUS,
) -> Granted:
    """The caps of a request. With `split`, samples that are not capped are up to whoever splits the other caps.

    Raises ApiError where they cannot be read or granted.
    """
    limits = largest(world.limits, tenant)
    caps, chosen_by = _caps(world, request, scaling, limits)
    most = limits.samples
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
    tokens = min(caps.tokens or limits.tokens, limits.tokens, tenant.tokens_per_day or limits.tokens)
    seconds = _lower(caps.seconds, tenant.most.seconds if caps.seconds is None else limits.seconds)
    eflops = _lower(caps.eflops, limits.eflops)
    usd = _lower(caps.usd, limits.usd, tenant.usd_per_day)
    return Granted(Budget(samples, tokens, seconds, eflops, usd), chosen_by, warnings)


def largest(limits: Limits, tenant: Tenant) -> Largest:
    """The largest budget of one request: the service's, and the tenant's where that is lower."""
    most = tenant.most
    return Largest(
        samples=min(limits.samples, most.samples or limits.samples),
        tokens=min(limits.tokens, most.tokens or limits.tokens),
        seconds=min(limits.seconds, most.seconds or limits.seconds),
        eflops=most.eflops,
        usd=most.usd,
    )


def _lower(*caps: Number | None) -> Number | None:
    """The lowest of the caps that there are."""
    return min((cap for cap in caps if cap is not None), default=None)


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
    world: World, request: ChatRequest, scaling: ScalingRequest, limits: Largest
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
    _check_limits(limits, asked)
    return asked, chosen_by


def _check_limits(limits: Largest, asked: BudgetRequest) -> None:
    for unit in get_args(Unit):
        value, most = getattr(asked, unit), getattr(limits, unit)
        if value is not None and most is not None and value > most:
            message = (
                f"scaling.budget.{unit} is {value}, and at most {most} are given to one request. Lower it."
            )
            raise unreadable(message, f"scaling.budget.{unit}", "above_limit")
