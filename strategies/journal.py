"""What a run's calls brought, as plain values: enough to run it again without a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from budgets.budget import BudgetExhausted, Unit
from budgets.ledger import NOTHING
from budgets.tariff import Charge
from engines.base import EngineError, Sample, Usage
from strategies.advice import Advice
from strategies.selection import Selection
from verifiers.base import Embedded, Verdict


class Reading(msgspec.Struct, frozen=True):
    """The answers of responses as they were read, and what the format gave up on; `late`: time ran out before."""

    answers: tuple[str | None, ...]
    warnings: tuple[str, ...] = ()
    late: bool = False


Finding = Advice | Embedded | Reading | Selection | str
"""What is found out beside samples and scores; a text says why embedding failed."""


class Drawn(msgspec.Struct, frozen=True):
    """A finished sample, and which continuation (`choice`) of which prefix (`prompt`) of its call it is."""

    prompt: int
    choice: int
    sample: Sample


class Opened(msgspec.Struct, frozen=True):
    """A call about to be made, and the most that it may come to; `within` the call whose samples it is about, if that
    is still under way."""

    number: int
    samples: int
    tokens: int
    charge: Charge
    within: int | None = None


@dataclass(slots=True, eq=False)
class Draw:
    """One engine call: the samples that finished, in the order in which they did, and what all of them cost.

    `prefixes` were continued, each sample by at most `max_tokens`, all by at most `most` together; `limited_by` is the
    budget that allowed no more. `failure` is what broke the call off, if something did; `cut_short` says that enough
    had finished. `charge`: what it cost, by the prices of that time. `opened` is the number of the `Opened` that it
    settles, `at` the run's seconds when it did.
    """

    prefixes: int
    max_tokens: int
    most: int
    drawn: list[Drawn] = field(default_factory=list)
    tokens: int = 0
    usage: Usage = field(default_factory=Usage)
    failure: EngineError | BudgetExhausted | None = None
    cut_short: bool = False
    limited_by: Unit | None = None
    charge: Charge = NOTHING
    opened: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """An engine call that was not made, since nothing fitted under the cap in `unit`."""

    unit: Unit
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Scored:
    """One verifier call: the verdict on the first of the responses whose texts have these digests, and what it cost.

    `ended`: the cap that left no room for it, or cut it off. `within`: as of an `Opened`.
    """

    digests: tuple[bytes, ...]
    verdict: Verdict
    charge: Charge = NOTHING
    ended: Unit | None = None
    opened: int | None = None
    within: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found out otherwise and may come out differently another time; None where the cap `ended` allowed no
    call."""

    value: Finding | None
    charge: Charge = NOTHING
    ended: Unit | None = None
    opened: int | None = None
    within: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Retried:
    """A new try after a failure: the calls before it that brought nothing but a failure are made again."""


Record = Opened | Draw | Refused | Scored | Settled | Retried


class Lost(msgspec.Struct, frozen=True):
    """What was paid for, or may have been, and brought nothing: calls under way when a run was cut off."""

    calls: int = 0
    samples: int = 0
    tokens: int = 0
    eflops: float = 0.0
    usd: float = 0.0


class Journal:
    """Records of a run in the order in which they settled.

    Opened with the records of an earlier run, it answers that run's calls first; new records follow. `keep` is awaited
    with each before anything is done with it, and with an `Opened` before each call; what it raises ends the run.
    """

    def __init__(
        self, records: Iterable[Record] = (), keep: Callable[[Record], Awaitable[None]] | None = None
    ) -> None:
        self.records: list[Record] = list(records)
        self._keep = keep
        void = _void(self.records)
        valid = [record for record in self.records if id(record) not in void]
        self._draws = deque(r for r in valid if isinstance(r, Draw | Refused))
        self._settled = deque(r for r in valid if isinstance(r, Settled))
        self._scored = {r.digests: r for r in valid if isinstance(r, Scored)}
        self._opened = max((r.number for r in self.records if isinstance(r, Opened)), default=0)
        self._within: int | None = None

    def draw(self) -> Draw | Refused | None:
        """The next recorded engine call, if there is one left."""
        return self._draws.popleft() if self._draws else None

    def settled(self) -> Settled | None:
        """The next recorded finding, if there is one left."""
        return self._settled.popleft() if self._settled else None

    def scored(self, digests: tuple[bytes, ...]) -> Scored | None:
        """The recorded verdict on these texts; keyed by them, since scoring may overlap a call that never settled."""
        return self._scored.pop(digests, None)

    @property
    def unused(self) -> int:
        """Recorded answers that no call has asked for so far."""
        return len(self._draws) + len(self._settled) + len(self._scored)

    @property
    def under_way(self) -> int | None:
        """The number of the call whose samples are being heard."""
        return self._within

    @contextmanager
    def within(self, number: int | None) -> Generator[None]:
        """A block in which the samples of that call are heard."""
        before, self._within = self._within, number
        try:
            yield
        finally:
            self._within = before

    async def open(self, samples: int, tokens: int, charge: Charge) -> int | None:
        """The number of a call about to be made, which has been kept; None where nobody keeps."""
        if self._keep is None:
            return None
        self._opened += 1
        await self.add(Opened(self._opened, samples, tokens, charge, self._within))
        return self._opened

    async def add(self, record: Record) -> None:
        """Keep a record."""
        if self._keep:
            await self._keep(record)
        self.records.append(record)


def lost(records: Sequence[Record]) -> Lost:
    """What calls came to at most that were opened and never settled, and what those cost that a replay passes over."""
    settled, void = _settled(records), _void(records)
    begun: dict[int | None, int] = {r.number: r.samples for r in records if isinstance(r, Opened)}
    total = Lost()
    for record in records:
        if isinstance(record, Opened) and record.number not in settled:
            total = _more(total, record.samples, record.tokens, record.charge)
        elif id(record) not in void:
            continue
        elif isinstance(record, Draw):
            total = _more(total, begun.get(record.opened, 0), record.tokens, record.charge)
        elif isinstance(record, Scored) and record.opened is not None:
            total = _more(total, 0, record.verdict.generated, record.charge)
        elif isinstance(record, Settled) and record.opened is not None:
            total = _more(total, 0, 0, record.charge)
    return total


def _more(total: Lost, samples: int, tokens: int, charge: Charge) -> Lost:
    return Lost(
        total.calls + 1,
        total.samples + samples,
        total.tokens + tokens,
        total.eflops + charge.eflops,
        total.usd + charge.usd,
    )


def _settled(records: Iterable[Record]) -> set[int | None]:
    """The numbers of calls that settled."""
    return {r.opened for r in records if isinstance(r, Draw | Scored | Settled)}


def _void(records: Sequence[Record]) -> set[int]:
    """The identities of records that a replay passes over: what was found about the samples of a call that never
    settled, and from a call that brought nothing but a failure on all that came before the next try."""
    settled = _settled(records)
    void: set[int] = set()
    failed: int | None = None
    for place, record in enumerate(records):
        if isinstance(record, Scored | Settled):
            if record.within is not None and record.within not in settled:
                void.add(id(record))
        elif isinstance(record, Draw):
            broken = isinstance(record.failure, EngineError) and not record.drawn
            failed = (place if failed is None else failed) if broken else None
        elif isinstance(record, Retried) and failed is not None:
            void.update(id(r) for r in records[failed:place] if not isinstance(r, Opened))
            failed = None
    return void
