"""Running a plan: the ledger, the search and the strategy put together, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from budgets.ledger import Spent
from service.errors import ApiError, engine_failed, too_few_tokens, too_late, too_little
from service.planning import Plan
from strategies.base import Outcome
from strategies.search import Event, Search


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its outcome, its account, its trace and warnings; `seconds` of wall clock."""

    plan: Plan
    outcome: Outcome
    spent: Spent
    seconds: float
    trace: tuple[Event, ...]
    warnings: tuple[str, ...]


async def run(plan: Plan, *, listen: Callable[[Event], None] | None = None, live: bool = False) -> Run:
    """Run a plan within its ledger.

    Raises ApiError where nothing is in hand: 503 where the engine failed, 422 where the tokens had no room for an
    answer, 504 where time ran out before a first one.
    """
    ledger = plan.ledger
    search = Search(
        plan.engine,
        plan.problem,
        ledger,
        plan.answers,
        verifier=plan.verifier,
        embedder=plan.embedder,
        pricing=plan.pricing,
        advisor=plan.advisor,
        seed=plan.seed,
        listen=listen,
        live=live,
    )
    outcome = await plan.strategy.run(search)
    if not outcome.candidates:
        raise _nothing(plan, search, outcome)
    return Run(
        plan=plan,
        outcome=outcome,
        spent=ledger.spent,
        seconds=ledger.seconds,
        trace=tuple(search.trace),
        warnings=(*plan.warnings, *search.warnings, *_fewer(plan, outcome)),
    )


def _nothing(plan: Plan, search: Search, outcome: Outcome) -> ApiError:
    if search.failure:
        return engine_failed(search.failure)
    budget = plan.ledger.budget
    if outcome.stopped_because == "budget_tokens":
        return too_few_tokens(budget.tokens)
    if outcome.stopped_because == "budget_usd":
        return too_little("usd", budget.usd, search.least_charge.usd)
    if outcome.stopped_because == "budget_eflops":
        return too_little("eflops", budget.eflops, search.least_charge.eflops)
    return too_late(plan.ledger.seconds)


def _fewer(plan: Plan, outcome: Outcome) -> tuple[str, ...]:
    asked, found = plan.problem.k, len(outcome.candidates)
    return (f"n asked for {asked} answers, and {found} came out of this run.",) if found < asked else ()
