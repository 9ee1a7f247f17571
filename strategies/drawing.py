"""Engine calls within a run's budget: each reserved, made or replayed, kept and settled."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from budgets.budget import BudgetExhausted
from budgets.ledger import Ledger, Reservation
from engines.base import Call, Chunk, Engine
from strategies.base import Problem
from strategies.calls import Finished, plain, replay, stream
from strategies.journal import Draw, Refused
from strategies.pricing import Calls
from strategies.recording import JournalMismatch, Recording


@dataclass(frozen=True, slots=True)
class Wanted:
    """Continuations of `prefixes`, `n` of each, of at most `max_tokens`, ending at `stop`.

    `begins`: whether these are new samples; `verdict_tokens`: of the verdict on each, None for none; `logprobs`: as of
    a `Call`.
    """

    prefixes: Sequence[tuple[int, ...]]
    n: int
    max_tokens: int
    stop: tuple[str, ...]
    begins: bool
    verdict_tokens: int | None
    logprobs: int | None

    @property
    def sequences(self) -> int:
        return len(self.prefixes) * self.n

    def trimmed(self, sequences: int) -> Wanted:
        """The same for fewer sequences: the first prefixes, and as many continuations of each as there are for it."""
        if sequences == self.sequences:
            return self
        prefixes = self.prefixes[:sequences]
        return replace(self, prefixes=prefixes, n=sequences // len(prefixes))


class Drawing:
    """An engine, and the account of its calls. `settled` is told of each and of how many samples a prefix had.

    Calls are seeded where there is a `seed`; `heard`, where given, hears the text of samples as it comes.
    """

    def __init__(
        self,
        engine: Engine,
        problem: Problem,
        ledger: Ledger,
        calls: Calls,
        recording: Recording,
        *,
        seed: int | None,
        settled: Callable[[Draw, int], None],
        heard: Callable[[Chunk], None] | None,
    ) -> None:
        self._engine = engine
        self._problem = problem
        self._ledger = ledger
        self._recording = recording
        self._calls = calls
        self._seeds = None if seed is None else random.Random(seed)
        self._settled = settled
        self._heard = heard
        self._affinity = array("Q", problem.prompt).tobytes()

    async def draw(self, wanted: Wanted, finished: Finished | None) -> tuple[Draw, int]:
        """What one call brought, and how many samples it was for: fewer than are wanted where no more fit the budget.

        Raises BudgetExhausted where nothing fits.
        """
        recorded = self._recording.draw()
        if isinstance(recorded, Refused):
            self._recording.past(recorded)
            raise BudgetExhausted(recorded.unit)
        if recorded:
            return recorded, await self._again(recorded, wanted, finished)
        room = self._calls.room(wanted.prefixes, wanted.n, wanted.max_tokens, wanted.verdict_tokens)
        try:
            reservation = self._ledger.reserve(**room, begins=wanted.begins)
        except BudgetExhausted as refusal:
            await self._recording.keep(Refused(refusal.unit))
            raise
        wanted = wanted.trimmed(reservation.sequences)
        return await self._make(wanted, reservation, finished), wanted.sequences

    async def _make(self, wanted: Wanted, reservation: Reservation, finished: Finished | None) -> Draw:
        each, trimmed_by = reservation.tokens_each, reservation.trimmed_by
        draw = Draw(len(wanted.prefixes), each, reservation.tokens, limited_by=trimmed_by)
        call = self._call(wanted, each)
        draw.opened = await self._recording.open(reservation)
        began, seconds = self._ledger.seconds, 0.0
        try:
            try:
                with self._recording.within(draw):
                    await self._ask(call, draw, finished)
            finally:
                seconds = self._ledger.seconds - began
                # Where samples were judged as they came, the time is not the engine's alone.
                learned = None if finished else seconds
                draw.charge = self._calls.settled(draw, call.prompts, reservation.sequences, learned)
            await self._recording.keep(draw)
        finally:
            self._settle(draw, reservation, wanted.n, seconds)
        return draw

    async def _again(self, draw: Draw, wanted: Wanted, finished: Finished | None) -> int:
        """The samples of a recorded call: it costs what it did, and `finished` is told of them as when they came."""
        sequences = draw.most // draw.max_tokens
        misfit = _misfit(draw, sequences, wanted)
        if misfit:
            raise JournalMismatch(misfit)
        wanted = wanted.trimmed(sequences)
        reservation = self._ledger.reopen(sequences, draw.max_tokens, draw.charge, begins=wanted.begins)
        self._sampling()  # so that the next call gets the next seed
        try:
            await replay(draw, finished)
        finally:
            self._recording.past(draw)
            self._settle(draw, reservation, wanted.n, 0.0)
        return wanted.sequences

    def _call(self, wanted: Wanted, max_tokens: int) -> Call:
        prefixes, stop = tuple(wanted.prefixes), wanted.stop
        return Call(prefixes, wanted.n, max_tokens, stop, wanted.logprobs, self._sampling(), self._affinity)

    def _sampling(self) -> dict[str, Any]:
        """The sampling fields of the next call."""
        sampling = dict(self._problem.sampling)
        if self._seeds:
            sampling["seed"] = self._seeds.getrandbits(31)
        return sampling

    async def _ask(self, call: Call, draw: Draw, finished: Finished | None) -> None:
        seconds, heard = self._ledger.seconds_left, self._heard
        if finished or heard or self._ledger.budget.seconds is not None:
            await stream(self._engine, call, draw, seconds, finished, heard)
        else:
            await plain(self._engine, call, draw, seconds)

    def _settle(self, draw: Draw, reservation: Reservation, n: int, seconds: float) -> None:
        usage = draw.usage
        self._ledger.settle(
            reservation,
            draw.tokens,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens or 0,
            charge=draw.charge,
            engine_seconds=seconds,
        )
        self._settled(draw, n)


def _misfit(draw: Draw, sequences: int, wanted: Wanted) -> str | None:
    """Why a recorded call cannot be the one that is wanted, if it cannot."""
    if not 0 < sequences <= wanted.sequences or draw.max_tokens > wanted.max_tokens:
        return f"a call for {sequences} samples of {draw.max_tokens} tokens is not the one that was made"
    fits = wanted.trimmed(sequences)
    places = {(drawn.prompt, drawn.choice) for drawn in draw.drawn}
    inside = all(0 <= prompt < len(fits.prefixes) and 0 <= choice < fits.n for prompt, choice in places)
    if draw.prefixes != len(fits.prefixes) or len(places) < len(draw.drawn) or not inside:
        return "a call holds samples of other prefixes than it continued"
    return "a call generated more tokens than it was given" if draw.tokens > draw.most else None
