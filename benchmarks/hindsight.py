"""The recommended plan against the best plan in hindsight at the same token budget: a part of predictions.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from selection_rules import solved, spent
from simulated_tasks import Samples

from budgets.prediction import Options, Strategy
from budgets.profiles import Profile
from budgets.recommend import Caps, Offer, VerifierOffer, Wanted, recommend

BUDGETS = (2, 4, 8, 16, 32, 64)
"""Token budgets, in mean responses of the world."""
ROOM = 16_384
_SLACK = 1.02
"""What a plan may cost above the budget by the chance of the problems drawn."""
PLANS: Sequence[tuple[Strategy, Options]] = (
    ("majority", Options()),
    ("best_of_n", Options()),
    ("best_of_n", Options(select="weighted")),
    ("best_of_n", Options(select="softmax", temperature=0.1)),
    ("best_of_majority", Options()),
    *(("repeated_sampling", Options(accept_at=mark)) for mark in (0.5, 0.7, 0.85, 0.95)),
)
NUMBERS = (*range(1, 17), 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64)


@dataclass(frozen=True, slots=True)
class Regret:
    """What a recommended plan reached in a world, and the best that fits the budget; accuracies from 0 to 1."""

    world: int
    calibration: int
    budget: int
    plan: str
    predicted: float
    reached: float
    tokens: float
    """Spent in the mean, as a share of the budget."""
    best_plan: str
    best: float


def measured_plans(problems: Samples) -> list[tuple[str, float, float]]:
    """Every plan of whole responses: what it is, its mean tokens, its accuracy."""
    return [
        (f"{_label(strategy, options)}, {n}", *_run(problems, strategy, n, options))
        for strategy, options in PLANS
        for n in NUMBERS
    ]


def regrets(
    world: int,
    calibration: int,
    profile: Profile,
    verifier: str,
    problems: Samples,
    plans: Sequence[tuple[str, float, float]],
) -> list[Regret]:
    """The recommended plan at each of the budgets."""
    offer = Offer("simulated", profile, None, 20, ROOM, (VerifierOffer(verifier, free=True),))
    found = []
    for budget in BUDGETS:
        tokens = budget * float(problems.tokens.mean())
        choice = recommend([offer], Wanted(Caps(samples=NUMBERS[-1], tokens=tokens))).choice
        options, cut = _options(choice.plan.params), problems.capped(choice.plan.max_tokens)
        mean, reached = _run(cut, choice.plan.strategy, choice.plan.samples, options)
        best, _, accuracy = max((one for one in plans if one[1] <= tokens * _SLACK), key=lambda one: one[2])
        label = f"{_label(choice.plan.strategy, options)}, {choice.plan.samples} of {choice.plan.max_tokens}"
        predicted = choice.predicted.accuracy.value
        found.append(
            Regret(world, calibration, budget, label, predicted, reached, mean / tokens, best, accuracy)
        )
    return found


def _run(problems: Samples, strategy: Strategy, n: int, options: Options) -> tuple[float, float]:
    right = solved(strategy, problems, n, options)
    return float(np.mean(spent(strategy, problems, n, options))), float(right.mean())


def _options(params: Mapping[str, Any]) -> Options:
    return Options(**{name: value for name, value in params.items() if name != "stop"})


def _label(strategy: Strategy, options: Options) -> str:
    if strategy == "repeated_sampling":
        return f"repeated_sampling at {options.accept_at:.2g}"
    if strategy == "best_of_n" and options.select != "argmax":
        return f"best_of_n {options.select}"
    return strategy


def report(found: Sequence[Regret]) -> str:
    """The table by budget, and what it says of the goal."""
    lines = [
        "Recommended plans against the best in hindsight at the same token budget",
        "",
        "| budget, in responses | recommended reaches % | best in hindsight % | behind, points | worst | spent % |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for budget in BUDGETS:
        mine = [one for one in found if one.budget == budget]
        behind = [100 * (one.best - one.reached) for one in mine]
        reached, best, spent_ = (
            100 * fmean(getattr(one, name) for one in mine) for name in ("reached", "best", "tokens")
        )
        lines.append(
            f"| {budget} | {reached:.1f} | {best:.1f} | {fmean(behind):.1f} | {max(behind):.1f} | {spent_:.0f} |"
        )
    behind = [100 * (one.best - one.reached) for one in found]
    within = 100 * fmean(each <= 2 for each in behind)
    gap = fmean(behind)
    holds = "holds" if gap <= 2 else "does not hold"
    lines += [
        "",
        f"- The recommended plan is {gap:.2f} points behind the best in hindsight (goal: at most 2): {holds}. "
        f"In {within:.0f} % of the cases it is within 2. The best of {len(PLANS) * len(NUMBERS)} measured plans is "
        "partly luck.",
    ]
    return "\n".join(lines)
