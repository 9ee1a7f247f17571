"""Reading answers within a run's budget."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from budgets.ledger import Ledger
from strategies.journal import Reading, Settled
from strategies.recording import JournalMismatch, Recording
from verifiers.answers import Answers


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads answers as the request's format has it."""

    answers: Answers
    ledger: Ledger
    recording: Recording

    async def read(self, contents: Sequence[str]) -> Reading:
        """The answer of each content; in a replay, what was read then, whatever comes of it now."""
        if not contents:
            return Reading(())
        settled = self.recording.settled(Reading)
        if settled is None:
            read = await self._read(contents)
            await self.recording.keep(Settled(read))
            return read
        reading = settled.value
        if not isinstance(reading, Reading) or len(reading.answers) != len(contents):
            raise JournalMismatch(f"{len(contents)} answers were asked for, and others were read")
        if not reading.late:
            await self.answers.canonical(contents)  # which later ones are compared with
        return reading

    async def _read(self, contents: Sequence[str]) -> Reading:
        try:
            async with asyncio.timeout(self.ledger.seconds_left):
                answers = await self.answers.canonical(contents)
        except TimeoutError:
            return Reading((None,) * len(contents), late=True)
        return Reading(tuple(answers), tuple(self.answers.warnings))
