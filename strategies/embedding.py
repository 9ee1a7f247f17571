"""Embedding texts within a run's budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budgets.ledger import NOTHING, Ledger
from engines.base import EngineError
from strategies.pricing import Calls
from verifiers.base import Embedded, Embedder


@dataclass(frozen=True, slots=True)
class Embedding:
    """An embedder, and what its calls cost."""

    embedder: Embedder
    ledger: Ledger
    calls: Calls

    @property
    def unpriced(self) -> bool:
        """Whether a cap is to hold that does not know what embedding costs."""
        return self.ledger.budget.priced and self.calls.pricing.embedder is None

    async def ask(self, texts: Sequence[str], known: Embedded | str | None) -> Embedded | str:
        """The vectors, or why there are none; what is `known` from an earlier run is charged again, not asked for.

        Raises BudgetExhausted where that does not fit the budget.
        """
        charge = self.calls.embedding(texts) or NOTHING
        reservation = self.ledger.reserve(1, 0, begins=False, price=lambda *_: charge)
        found: Embedded | str = ""
        try:
            found = await self._ask(texts) if known is None else known
            if isinstance(found, Embedded):
                charge = self.calls.embedded(found.read, len(texts)).within(charge)
        finally:
            read = found.read if isinstance(found, Embedded) else 0
            self.ledger.settle(reservation, 0, verifier_tokens=read, charge=charge)
        return found

    async def _ask(self, texts: Sequence[str]) -> Embedded | str:
        try:
            return await self.embedder.embed(texts, seconds=self.ledger.seconds_left)
        except EngineError as failure:
            return str(failure)
