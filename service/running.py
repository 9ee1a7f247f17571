"""Running a plan: the ledger, the search and the strategy put together, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from budgets.ledger import Ledger, Spent
from service.errors import engine_failed, too_late
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


async def run(
    plan: Plan, ledger: Ledger, *, listen: Callable[[Event], None] | None = None, live: bool = False
) -> Run:
    """Run a plan within the ledger of its budget.

    Raises ApiError: 503 where the engine failed with nothing in hand, 504 where time ran out before a first answer.
    """
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
    outcome = await plan.strategy.run(search)
    if not outcome.candidates:
        raise engine_failed(search.failure) if search.failure else too_late(ledger.seconds)
    return Run(
        plan=plan,
        outcome=outcome,
        spent=ledger.spent,
        seconds=ledger.seconds,
        trace=tuple(search.trace),
        warnings=(*plan.warnings, *search.warnings),
    )
