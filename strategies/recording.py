"""A run's journal kept in step with its ledger: a replay's time is the journal's, and goes on where that ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

from budgets.ledger import Ledger, Reservation
from strategies.journal import Draw, Finding, Journal, Refused, Scored, Settled

Kept = TypeVar("Kept", Draw, Refused, Scored, Settled)
Recorded = TypeVar("Recorded", Scored, Settled)
F = TypeVar("F", bound=Finding)


class JournalMismatch(Exception):
    """A record is not what the run asked for: the journal is of another run."""


class Recording:
    """What a run's calls brought before, and the keeping of what they bring now."""

    def __init__(self, journal: Journal, ledger: Ledger) -> None:
        self.journal = journal
        self._ledger = ledger

    def draw(self) -> Draw | Refused | None:
        """The next recorded engine call; its time, that of its end, is for `past` to take."""
        recorded = self.journal.draw()
        if recorded is None:
            self._ledger.go_on()
        return recorded

    def scored(self, digests: Sequence[bytes]) -> Scored | None:
        """The recorded verdict on the texts with these digests."""
        return self._now(self.journal.scored(tuple(digests)))

    def settled(self, *kinds: type[F]) -> Settled | None:
        """The next recorded finding. Raises JournalMismatch where it is of none of these kinds."""
        settled = self._now(self.journal.settled())
        if settled and settled.ended is None and not isinstance(settled.value, kinds):
            raise JournalMismatch(f"a finding is of another kind than was asked for: {settled.value!r:.100}")
        return settled

    def past(self, record: Draw | Refused) -> None:
        """Let it be the time at which a recorded call ended."""
        self._ledger.stand(record.at)

    async def open(self, reservation: Reservation) -> int | None:
        """The number of the call that is about to be made with `reservation`; None where nobody keeps.

        The reservation is released where that cannot be kept.
        """
        try:
            return await self.journal.open(reservation.samples, reservation.tokens, reservation.charge)
        except BaseException:
            self._ledger.release(reservation)
            raise

    def within(self, draw: Draw) -> AbstractContextManager[None]:
        """A block in which the samples of an engine call are heard."""
        return self.journal.within(draw.opened)

    async def keep(self, record: Kept) -> Kept:
        """The record as it is kept, with its time and the call that it is about, if that is under way."""
        at = round(self._ledger.seconds, 6)
        if isinstance(record, Draw):
            record.at = at
        elif isinstance(record, Refused):
            record = replace(record, at=at)
        else:
            record = replace(record, at=at, within=self.journal.under_way)
        await self.journal.add(record)
        return record

    def _now(self, record: Recorded | None) -> Recorded | None:
        """A record, at its time; the clock goes on where there is none."""
        if record is None:
            self._ledger.go_on()
        else:
            self._ledger.stand(record.at)
        return record
