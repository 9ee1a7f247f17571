"""Embedding texts within a run's budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from budgets.budget import BudgetExhausted
from budgets.ledger import NOTHING, Ledger
from engines.base import EngineError
from strategies.journal import Settled
from strategies.pricing import Calls
from strategies.recording import JournalMismatch, Recording
from verifiers.base import Embedded, Embedder


@dataclass(frozen=True, slots=True)
class Embedding:
    """An embedder, and what its calls cost."""

    embedder: Embedder
    ledger: Ledger
    calls: Calls
    recording: Recording

    @property
    def unpriced(self) -> bool:
        """Whether a cap is to hold that does not know what embedding costs."""
        return self.ledger.budget.priced and self.calls.pricing.embedder is None

    async def ask(self, texts: Sequence[str]) -> Embedded | str:
        """The vectors, or why there are none. Raises BudgetExhausted where that does not fit the budget."""
        settled = self.recording.settled(Embedded, str)
        if settled is None:
            settled = await self._asked(texts)
        else:
            self._charge_again(settled, len(texts))
        if settled.ended:
            raise BudgetExhausted(settled.ended)
        return cast(Embedded | str, settled.value)

    async def _asked(self, texts: Sequence[str]) -> Settled:
        charge = self.calls.embedding(texts) or NOTHING
        try:
            reservation = self.ledger.reserve(1, 0, begins=False, price=lambda *_: charge)
        except BudgetExhausted as refusal:
            return await self.recording.keep(Settled(None, ended=refusal.unit))
        opened = await self.recording.open(reservation)
        read = 0
        try:
            found = await self._ask(texts)
            if isinstance(found, Embedded):
                read, charge = found.read, self.calls.embedded(found.read, len(texts)).within(charge)
            return await self.recording.keep(Settled(found, charge, opened=opened))
        finally:
            self.ledger.settle(reservation, 0, verifier_tokens=read, charge=charge)

    def _charge_again(self, settled: Settled, texts: int) -> None:
        """What a recorded call cost. Raises JournalMismatch where it did not embed the texts."""
        read = 0
        if isinstance(settled.value, Embedded):
            vectors, read = settled.value.vectors, settled.value.read
            if len(vectors) != texts or len({len(vector) for vector in vectors}) > 1:
                raise JournalMismatch(f"{len(vectors)} vectors are recorded of {texts} texts")
        reservation = self.ledger.reopen(1, 0, settled.charge, begins=False)
        self.ledger.settle(reservation, 0, verifier_tokens=read, charge=settled.charge)

    async def _ask(self, texts: Sequence[str]) -> Embedded | str:
        try:
            return await self.embedder.embed(texts, seconds=self.ledger.seconds_left)
        except EngineError as failure:
            return str(failure)
