"""`strategy: auto`: the recommended plan of a request, and advice on its way from what its samples show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from budgets.budget import Budget
from service.offers import available, offer
from service.schemas import DEFAULT_TASK, ChatRequest, ScalingRequest, VerifierRequest
from service.thinking import Thinking
from service.world import World
from strategies.advice import Advice, Seen
from strategies.auto import Auto
from strategies.base import Strategy
from strategies.majority import Majority
from strategies.registry import build

if TYPE_CHECKING:
    from budgets.allocation import Allocation
    from budgets.plans import Offer, Recommendation
    from budgets.uncertainty import FittedTask


@dataclass(frozen=True, slots=True)
class Automatic:
    """What is run where the request leaves it open. `samples` at most, each of `max_tokens` at most.

    `alike` is the fixed strategy whose accuracy is predicted for it, with so many samples.
    """

    strategy: Strategy
    alike: tuple[Strategy, int]
    samples: int
    max_tokens: int
    verifier: str | VerifierRequest | None = None
    advisor: Allocator | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allocator:
    """Advice by the posterior of the prompt's difficulty; at most `most` samples, `k` answers.

    `sure`: whether the task was measured, so that the probability of a right answer is worth telling.
    """

    fitted: FittedTask
    verified: bool
    most: int
    k: int
    least_gain: float
    sure: bool
    thinking: Thinking

    async def advise(self, seen: Sequence[Seen], left: int) -> Advice:
        """What `budgets.allocation.allocate` says, worked out in a thread; as many samples as answers at least."""
        left = max(0, min(left, self.most - len(seen)))
        scores: dict[str, list[float | None]] = {}
        for answer, score in seen:
            if answer is not None:
                scores.setdefault(answer, []).append(score)
        found = await self.thinking.carry_on(self._allocate, scores, len(seen), left)
        answers = list(scores)
        ranked = tuple(answers[place] for place in found.ranked)
        right = found.accuracy_now if seen and self.sure else None
        missing = min(left, self.k - len(seen))
        if missing > found.more:
            reason = f"{found.reason} {self.k} answers are asked for, so {missing} more are drawn."
            return Advice(missing, ranked, right, reason)
        return Advice(found.more, ranked, right, found.reason)

    def _allocate(self, scores: Mapping[str, list[float | None]], drawn: int, left: int) -> Allocation:
        from budgets.allocation import allocate
        from budgets.posterior import Evidence

        votes = tuple(map(len, scores.values()))
        given = tuple(map(tuple, scores.values())) if self.verified else ()
        evidence = Evidence(votes, given, drawn - sum(votes))
        return allocate(
            self.fitted, evidence, most=left, verifier=self.verified, least_gain=self.least_gain, k=self.k
        )


async def automatic(
    world: World,
    request: ChatRequest,
    scaling: ScalingRequest,
    auto: Auto,
    budget: Budget,
    prompt_tokens: int,
    room: int,
) -> Automatic:
    """The recommended plan within the budget, by the profile of the request's task.

    Of verifiers the one that the request names, else those that the profile has measured. Where no plan can be
    recommended it is a vote, and a warning says why.
    """
    k = request.n or 1
    profile = await world.records.profile(request.model, scaling.task or DEFAULT_TASK)
    named = scaling.verifier.name if isinstance(scaling.verifier, VerifierRequest) else scaling.verifier
    usable = [named] if named else [name for name in available(world) if profile.knows(name)]
    offered = await offer(world, request.model, profile, prompt_tokens, room, usable)
    try:
        found, fitted = await world.thinking.run(_recommended, offered, budget, k, world.limits.samples)
    except ValueError as error:
        why = f"No plan can be predicted, so it is a vote: {error}"
        vote = Majority()
        return Automatic(
            vote, (vote, budget.samples), budget.samples, room, scaling.verifier, warnings=(why,)
        )
    plan = found.choice.plan
    alike = build(plan.strategy, plan.params)
    strategy: Strategy = alike  # repeated sampling, which adapts to the prompt by itself
    samples, advisor = plan.samples, None
    guessed = profile.source == "prior" or not (plan.verifier is None or profile.knows(plan.verifier))
    if plan.strategy != "repeated_sampling":
        verified = plan.verifier is not None
        strategy, samples = auto, budget.samples
        advisor = Allocator(
            fitted, verified, samples, k, auto.least_gain, sure=not guessed, thinking=world.thinking
        )
    # The first says so; the others are about costs, and about plans that stay as they are.
    warnings = found.warnings[:1] if guessed else ()
    if named and plan.verifier is None:
        warnings = (*warnings, f"{named} was not used: it is not expected to be worth its cost here.")
    return Automatic(
        strategy,
        (alike, plan.samples),
        samples,
        plan.max_tokens,
        scaling.verifier if plan.verifier == named else plan.verifier,
        advisor,
        found.reasons,
        warnings,
    )


def _recommended(offered: Offer, budget: Budget, k: int, most: int) -> tuple[Recommendation, FittedTask]:
    from budgets.plans import Caps, Wanted
    from budgets.recommend import recommend

    caps = {unit: None if cap is None else float(cap) for unit, cap in asdict(budget).items()}
    if offered.tariff is None:
        caps["seconds"] = None  # nobody can foresee them; the ledger keeps to them
    found = recommend([offered], Wanted(Caps(**caps), k=k, most_samples=most))
    plan = found.choice.plan
    return found, offered.profile.fitted(plan.verifier, offered.cut_at(plan.max_tokens))
