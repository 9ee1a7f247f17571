"""Scoring within a run's budget: each text once, with tokens kept free for the verdicts still to come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from budgets.budget import BudgetExhausted
from budgets.ledger import Ledger, Reservation
from engines.base import EngineError, Message
from engines.failures import generated_nothing
from strategies.base import Candidate
from strategies.journal import Journal, Scored
from strategies.pricing import Calls
from verifiers.base import Score, Verdict, Verifier, sane

GRACE_SECONDS = 0.25
"""What a verifier that keeps to its seconds has to come back; one that does not is cut off."""


def digest(text: str) -> bytes:
    """What stands for a text, where only equality matters."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


@dataclass(slots=True)
class Scoring:
    """A verifier's scores of the texts of one run, by the texts' digests: paths of a long search are many and long.

    `owed` counts samples drawn and not yet given to the verifier, the longest of `longest` tokens.
    """

    verifier: Verifier
    ledger: Ledger
    messages: tuple[Message, ...]
    journal: Journal
    calls: Calls
    scores: dict[bytes, Score] = field(default_factory=dict)
    owed: int = 0
    longest: int = 0
    _given: set[int] = field(default_factory=set)

    def owe(self, samples: int, longest: int = 0) -> None:
        """Keep room free for verdicts on this many more samples."""
        self.owed += samples
        self.longest = max(self.longest, longest)
        owed = max(0, self.owed)
        self.ledger.aside = owed * self.verifier.max_tokens
        self.ledger.aside_charge = self.calls.verdict(self.longest, self.verifier.max_tokens) * owed

    async def score(self, candidates: Sequence[Candidate]) -> tuple[Verdict, list[Score]]:
        """What the verifier said now, and the score of each new text, in order.

        Raises BudgetExhausted where no verdict fits the budget.
        """
        given = {candidate.index for candidate in candidates} - self._given
        self._given |= given
        self.owe(-len(given))
        distinct = {digest(c.text): c for c in candidates}
        new = [c for key, c in distinct.items() if key not in self.scores]
        if not new:
            return Verdict(()), []
        if self.verifier.instant:
            verdict = await self.verifier.score(self.messages, [c.response for c in new])
        else:
            verdict, new = await self._within_budget(new)
        scores = [sane(score) for score in verdict.scores]
        self.scores |= zip((digest(c.text) for c in new), scores, strict=True)
        return verdict, scores

    async def _within_budget(self, new: list[Candidate]) -> tuple[Verdict, list[Candidate]]:
        price = self.calls.verdicts([c.text for c in new])
        reservation = self.ledger.reserve(
            len(new), self.verifier.max_tokens, begins=False, whole=True, price=price
        )
        new = new[: reservation.sequences]
        digests = tuple(digest(candidate.text) for candidate in new)
        verdict, charge = Verdict((), generated=reservation.tokens), reservation.charge
        try:
            scored = self.journal.verdict(digests)
            if scored is None:
                scored = await self._ask(new, digests, reservation)
                self.journal.add(scored)
            verdict, charge = scored.verdict, scored.charge.within(reservation.charge)
        finally:
            self.ledger.settle(reservation, verdict.generated, verifier_tokens=verdict.read, charge=charge)
        return verdict, new

    async def _ask(
        self, new: list[Candidate], digests: tuple[bytes, ...], reservation: Reservation
    ) -> Scored:
        """One call. A verifier that fails may have read and generated all that was reserved for it."""
        seconds = self.ledger.seconds_left
        try:
            async with asyncio.timeout(None if seconds is None else seconds + GRACE_SECONDS):
                verdict = await self.verifier.score(self.messages, [c.response for c in new], seconds=seconds)
        except TimeoutError as late:
            raise BudgetExhausted("seconds") from late
        except EngineError as failure:
            sentence = f"{self.verifier.name} gave no scores, so they play no part: {failure}"
            unscored = (None,) * len(new)
            if generated_nothing(failure):
                return Scored(digests, Verdict(unscored, warnings=(sentence,)))
            verdict = Verdict(unscored, generated=reservation.tokens, warnings=(sentence,))
            return Scored(digests, verdict, reservation.charge)
        return Scored(digests, verdict, self.calls.judged(verdict, len(new)))
