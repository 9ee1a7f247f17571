"""Running a plan: the ledger, the search and the strategy put together, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from budgets.ledger import Spent
from service.errors import ApiError, engine_failed, too_few_tokens, too_late, too_little
from service.planning import Plan
from strategies.base import Outcome
from strategies.journal import Journal, Lost, lost
from strategies.search import Event, Search


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its outcome, its account, its trace and warnings; `seconds` of wall clock.

    `lost`: what attempts before it paid for that were cut off.
    """

    plan: Plan
    outcome: Outcome
    spent: Spent
    seconds: float
    trace: tuple[Event, ...]
    warnings: tuple[str, ...]
    lost: Lost


async def run(
    plan: Plan,
    *,
    journal: Journal | None = None,
    listen: Callable[[Event], None] | None = None,
    live: bool = False,
) -> Run:
    """Run a plan within its ledger, and within a span where it is traced; what `journal` holds is not asked for again.

    Raises ApiError where nothing is in hand: 503 where the engine failed, 422 where the tokens had no room for an
    answer, 504 where time ran out before a first one.
    """
    journal = journal or Journal()
    if plan.tracing is None:
        return await _run(plan, journal, listen, live)
    with plan.tracing.run(plan) as traced:
        done = await _run(traced.plan, journal, listen, live)
        traced.stopped_because = done.outcome.stopped_because
        return done


async def _run(plan: Plan, journal: Journal, listen: Callable[[Event], None] | None, live: bool) -> Run:
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
        rng_seed=plan.rng_seed,
        journal=journal,
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
        lost=lost(search.journal.records),
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
