"""What a run's calls brought, as plain values: enough to run it again without a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from budgets.budget import BudgetExhausted, Unit
from budgets.ledger import NOTHING
from budgets.tariff import Charge
from engines.base import EngineError, Sample, Usage
from verifiers.base import Verdict


class Drawn(msgspec.Struct, frozen=True):
    """A finished sample, and which continuation (`choice`) of which prefix (`prompt`) of its call it is."""

    prompt: int
    choice: int
    sample: Sample


@dataclass(slots=True, eq=False)
class Draw:
    """One engine call: the samples that finished, in the order in which they did, and what all of them cost.

    `prefixes` were continued, each sample by at most `max_tokens`, all by at most `most` together; `limited_by` is the
    budget that allowed no more. `failure` is what broke the call off, if something did; `cut_short` says that enough
    had finished. `charge`: what it cost, by the prices of that time.
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


@dataclass(frozen=True, slots=True)
class Scored:
    """One verifier call: the verdict on responses whose texts have these digests, and what it cost."""

    digests: tuple[bytes, ...]
    verdict: Verdict
    charge: Charge = NOTHING


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found out otherwise and may come out differently another time: clusters, a solution under a deadline."""

    value: Any


Record = Draw | Scored | Settled


class Journal:
    """Records of a run in the order in which they settled.

    Opened with the records of an earlier run, it answers that run's calls first; new records follow.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[Record] = list(records)
        self._draws = deque(r for r in self.records if isinstance(r, Draw))
        self._settled = deque(r for r in self.records if isinstance(r, Settled))
        self._scored = {r.digests: r for r in self.records if isinstance(r, Scored)}

    def __contains__(self, record: Record) -> bool:
        return any(known is record for known in self.records)

    def draw(self) -> Draw | None:
        """The next recorded engine call, if there is one left."""
        return self._draws.popleft() if self._draws else None

    def settled(self) -> Settled | None:
        """The next recorded finding, if there is one left."""
        return self._settled.popleft() if self._settled else None

    def verdict(self, digests: tuple[bytes, ...]) -> Scored | None:
        """The recorded verdict on these texts; keyed by them, since scoring may overlap a call that never settled."""
        return self._scored.get(digests)

    def add(self, record: Record) -> None:
        self.records.append(record)
