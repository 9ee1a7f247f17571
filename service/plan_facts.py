"""What planning found for a request, as a value that can be kept: the first line of a journal."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from budgets.budget import Budget
from budgets.tariff import Tariff
from service.advising import Allocator
from service.budgeting import ChosenBy
from service.schemas import ChatRequest
from strategies.base import Strategy
from strategies.pricing import Pricing
from strategies.registry import build, registry
from verifiers.base import Verifier

if TYPE_CHECKING:
    from service.planning import Plan
    from service.thinking import Thinking

MOST_SAMPLES = 10_000

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Token = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Cap = Annotated[float, msgspec.Meta(gt=0, le=1e30)]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all of these have."""


class Caps(_Facts, frozen=True):
    """A granted budget."""

    samples: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)]
    tokens: Positive | None = None
    seconds: Cap | None = None
    eflops: Cap | None = None
    usd: Cap | None = None

    @classmethod
    def of(cls, budget: Budget) -> Caps:
        return cls(budget.samples, budget.tokens, budget.seconds, budget.eflops, budget.usd)

    def budget(self) -> Budget:
        return Budget(self.samples, self.tokens, self.seconds, self.eflops, self.usd)


class StrategyFacts(_Facts, frozen=True):
    """A strategy by name, with all of its parameters."""

    name: Text
    params: dict[str, Any]

    @classmethod
    def of(cls, strategy: Strategy) -> StrategyFacts:
        return cls(strategy.name, msgspec.to_builtins(strategy))

    def strategy(self) -> Strategy:
        """Raises ValueError where there is none like it."""
        if self.name not in registry():
            raise ValueError(f"there is no strategy {self.name[:100]!r}")
        return build(self.name, self.params)


class VerifierFacts(_Facts, frozen=True):
    """What a run asks of its verifier before it scores anything; its options are the request's."""

    name: Text
    needs_logprobs: bool
    max_tokens: Count
    instant: bool

    @classmethod
    def of(cls, verifier: Verifier) -> VerifierFacts:
        return cls(verifier.name, verifier.needs_logprobs, verifier.max_tokens, verifier.instant)


class PriceFacts(_Facts, frozen=True):
    """The tariffs that caps are held to, None where nothing is known or to be paid."""

    generator: Tariff | None
    verifier: Tariff | None
    embedder: Tariff | None

    @classmethod
    def of(cls, pricing: Pricing) -> PriceFacts:
        return cls(pricing.generator, pricing.verifier, pricing.embedder)


class AdvisorFacts(_Facts, frozen=True):
    """What the advisor of `strategy: auto` knows; `fitted` is a FittedTask, read only where advice is asked for."""

    fitted: msgspec.Raw
    verified: bool
    most: Count
    k: Positive
    least_gain: float
    sure: bool

    @classmethod
    def of(cls, advisor: Allocator) -> AdvisorFacts:
        fitted = msgspec.Raw(msgspec.json.encode(advisor.fitted))
        return cls(fitted, advisor.verified, advisor.most, advisor.k, advisor.least_gain, advisor.sure)

    def advisor(self, thinking: Thinking) -> Allocator:
        """Raises ValueError where `fitted` is none."""
        from budgets.uncertainty import FittedTask

        try:
            fitted = msgspec.json.decode(self.fitted, type=FittedTask)
        except msgspec.MsgspecError as error:
            raise ValueError(f"what the advisor knows cannot be read: {error}") from error
        return Allocator(fitted, self.verified, self.most, self.k, self.least_gain, self.sure, thinking)


class PlanFacts(_Facts, frozen=True):
    """All that planning found which might come out differently another time: with it a request has the same plan again.

    `request` is the digest of the request. `seconds` is the deadline, where the budget sets none. `rng_seed` seeds the
    strategy's choices where the request has no seed.
    """

    request: Text
    model: Text
    prompt: tuple[Token, ...]
    max_tokens: Positive
    budget: Caps
    seconds: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    samples: Positive
    chosen_by: ChosenBy
    strategy: StrategyFacts
    alike: StrategyFacts
    alike_samples: Count
    verifier: VerifierFacts | None
    embeds: bool
    prices: PriceFacts
    rng_seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    created: Count
    advisor: AdvisorFacts | None = None
    reasons: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()


def facts_of(plan: Plan) -> PlanFacts:
    """The facts of a plan whose ledger has its final caps."""
    alike, samples = plan.alike
    return PlanFacts(
        request=request_digest(plan.request),
        model=plan.model,
        prompt=plan.problem.prompt,
        max_tokens=plan.problem.max_tokens,
        budget=Caps.of(plan.ledger.budget),
        seconds=plan.most_seconds,
        samples=plan.samples,
        chosen_by=plan.chosen_by,
        strategy=StrategyFacts.of(plan.strategy),
        alike=StrategyFacts.of(alike),
        alike_samples=samples,
        verifier=VerifierFacts.of(plan.verifier) if plan.verifier else None,
        embeds=plan.embedder is not None,
        prices=PriceFacts.of(plan.pricing),
        rng_seed=plan.rng_seed,
        created=plan.created,
        advisor=AdvisorFacts.of(plan.advisor) if isinstance(plan.advisor, Allocator) else None,
        reasons=plan.reasons,
        warnings=plan.warnings,
    )


def request_digest(request: ChatRequest) -> str:
    """What stands for a request, where only equality matters."""
    written = request.model_dump_json(by_alias=True, exclude_none=True)
    return blake2b(written.encode(), digest_size=16).hexdigest()
