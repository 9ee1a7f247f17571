"""Running a plan: the ledger, the search and the strategy put together, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from budgets.ledger import Ledger, Spent
from service.errors import engine_failed, too_late
from service.planning import Plan
from strategies.base import Outcome
from strategies.search import Event, Search


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its outcome, what it spent, its trace and warnings; `seconds` of wall clock."""

    plan: Plan
    outcome: Outcome
    spent: Spent
    seconds: float
    trace: tuple[Event, ...]
    warnings: tuple[str, ...]
    engine_seconds: float


async def run(
    plan: Plan, *, most_seconds: float, listen: Callable[[Event], None] | None = None, live: bool = False
) -> Run:
    """Run a plan within its budget, and within the service's `most_seconds`.

    Raises ApiError: 503 where the engine failed with nothing in hand, 504 where time ran out before a first answer.
    """
    ledger = Ledger(plan.budget)
    search = Search(
        plan.engine,
        plan.problem,
        ledger,
        plan.answers,
        verifier=plan.verifier,
        seed=plan.seed,
        listen=listen,
        live=live,
    )
    try:
        async with asyncio.timeout(most_seconds):
            outcome = await plan.strategy.run(search)
    except TimeoutError as late:
        raise too_late(most_seconds) from late
    if not outcome.candidates:
        if search.failure:
            raise engine_failed(search.failure)
        raise too_late(plan.budget.seconds or most_seconds)
    return Run(
        plan=plan,
        outcome=outcome,
        spent=ledger.spent,
        seconds=ledger.seconds,
        trace=tuple(search.trace),
        warnings=(*plan.warnings, *search.warnings),
        engine_seconds=search.engine_seconds,
    )
