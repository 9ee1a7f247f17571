"""Scoring within a run's budget: each text once, with tokens kept free for the verdicts still to come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from budgets.budget import BudgetExhausted
from budgets.ledger import Ledger, Reservation
from engines.base import EngineError, Message
from engines.failures import generated_nothing
from strategies.base import Candidate
from strategies.journal import Scored
from strategies.pricing import Calls
from strategies.recording import JournalMismatch, Recording
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
    messages: tuple[Message, ...]
    ledger: Ledger
    calls: Calls
    recording: Recording
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
        """One call, or a recorded one: the verdict on the first of `new`, and these."""
        digests = tuple(digest(candidate.text) for candidate in new)
        scored = self.recording.scored(digests)
        if scored is None:
            scored = await self._asked(new, digests)
        else:
            self._charge_again(scored, len(new))
        if scored.ended:
            raise BudgetExhausted(scored.ended)
        return scored.verdict, new[: len(scored.verdict.scores)]

    async def _asked(self, new: list[Candidate], digests: tuple[bytes, ...]) -> Scored:
        price = self.calls.verdicts([c.text for c in new])
        try:
            reservation = self.ledger.reserve(
                len(new), self.verifier.max_tokens, begins=False, whole=True, price=price
            )
        except BudgetExhausted as refusal:
            return await self.recording.keep(Scored(digests, Verdict(()), ended=refusal.unit))
        opened = await self.recording.open(reservation)
        generated, read, charge = reservation.tokens, 0, reservation.charge
        try:
            scored = await self._ask(new[: reservation.sequences], reservation)
            scored = replace(scored, digests=digests, opened=opened)
            generated, read, charge = scored.verdict.generated, scored.verdict.read, scored.charge
            return await self.recording.keep(scored)
        finally:
            self.ledger.settle(reservation, generated, verifier_tokens=read, charge=charge)

    def _charge_again(self, scored: Scored, texts: int) -> None:
        """What a recorded call cost. Raises JournalMismatch where its verdict is not on the texts."""
        verdict = scored.verdict
        if len(verdict.scores) > texts or not (verdict.scores or scored.ended):
            raise JournalMismatch(f"{len(verdict.scores)} scores are recorded of {texts} texts")
        reservation = self.ledger.reopen(1, verdict.generated, scored.charge, begins=False)
        self.ledger.settle(reservation, verdict.generated, verifier_tokens=verdict.read, charge=scored.charge)

    async def _ask(self, new: list[Candidate], reservation: Reservation) -> Scored:
        """The verdict. A verifier that fails may have read and generated all that was reserved for it."""
        seconds, unscored = self.ledger.seconds_left, (None,) * len(new)
        spent = Verdict((), generated=reservation.tokens)
        try:
            async with asyncio.timeout(None if seconds is None else seconds + GRACE_SECONDS):
                verdict = await self.verifier.score(self.messages, [c.response for c in new], seconds=seconds)
        except TimeoutError:
            return Scored((), spent, reservation.charge, ended="seconds")
        except EngineError as failure:
            sentence = f"{self.verifier.name} gave no scores, so they play no part: {failure}"
            if generated_nothing(failure):
                return Scored((), Verdict(unscored, warnings=(sentence,)))
            return Scored((), replace(spent, scores=unscored, warnings=(sentence,)), reservation.charge)
        verdict = replace(verdict, scores=tuple(map(sane, verdict.scores)))
        return Scored((), verdict, self.calls.judged(verdict, len(new)).within(reservation.charge))
