"""Records of a journal as lines of JSON, and back: whatever the line, either a record or a ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from budgets.budget import BudgetExhausted, Unit
from budgets.tariff import Charge
from engines.base import EngineError, EngineGarbage, EngineRefused, EngineUnavailable, Usage
from strategies.advice import Advice
from strategies.journal import (
    Draw,
    Drawn,
    Finding,
    Opened,
    Reading,
    Record,
    Refused,
    Retried,
    Scored,
    Settled,
)
from strategies.selection import Selection
from verifiers.base import Embedded, Score, Verdict

MOST: Final = 10**15
"""No count and no amount in a journal is larger."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e30)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Digest = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]

FAILURES: Final[Mapping[str, type[EngineError]]] = {
    "error": EngineError,
    "refused": EngineRefused,
    "garbage": EngineGarbage,
}


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """What all lines have."""


class _Charge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, array_like=True):
    eflops: Amount = 0.0
    seconds: Amount = 0.0
    usd: Amount = 0.0

    @classmethod
    def of(cls, charge: Charge) -> _Charge:
        return cls(charge.eflops, charge.seconds, charge.usd)

    def charge(self) -> Charge:
        return Charge(self.eflops, self.seconds, self.usd)


_FREE: Final = _Charge()


class _Opened(_Line, frozen=True, tag="opened"):
    number: Count
    samples: Count
    tokens: Count
    charge: _Charge = _FREE
    within: Count | None = None

    def record(self) -> Opened:
        return Opened(self.number, self.samples, self.tokens, self.charge.charge(), self.within)


class _Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`kind`: of `FAILURES`, `unavailable` (which may have `began`), or `budget`, where `message` is its unit."""

    kind: str
    message: Annotated[str, msgspec.Meta(max_length=100_000)]
    began: bool = False

    @classmethod
    def of(cls, failure: EngineError | BudgetExhausted | None) -> _Failure | None:
        if failure is None:
            return None
        if isinstance(failure, BudgetExhausted):
            return cls("budget", failure.unit)
        if isinstance(failure, EngineUnavailable):
            return cls("unavailable", str(failure), failure.began)
        kinds = (kind for kind, type in FAILURES.items() if kind != "error" and isinstance(failure, type))
        return cls(next(kinds, "error"), str(failure))

    def failure(self) -> EngineError | BudgetExhausted:
        if self.kind == "budget":
            return BudgetExhausted(msgspec.convert(self.message, Unit))
        if self.kind == "unavailable":
            return EngineUnavailable(self.message, began=self.began)
        if self.kind not in FAILURES:
            raise ValueError(f"there is no failure {self.kind[:100]!r}")
        return FAILURES[self.kind](self.message)


class _Draw(_Line, frozen=True, tag="draw"):
    prefixes: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    most: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    drawn: list[Drawn] = []
    tokens: Count = 0
    prompt_tokens: Count = 0
    cached_tokens: Count | None = None
    completion_tokens: Count | None = None
    failure: _Failure | None = None
    cut_short: bool = False
    limited_by: Unit | None = None
    charge: _Charge = _FREE
    opened: Count | None = None
    at: Seconds = 0.0

    @classmethod
    def of(cls, draw: Draw) -> _Draw:
        usage = draw.usage
        return cls(
            draw.prefixes,
            draw.max_tokens,
            draw.most,
            draw.drawn,
            draw.tokens,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            _Failure.of(draw.failure),
            draw.cut_short,
            draw.limited_by,
            _Charge.of(draw.charge),
            draw.opened,
            draw.at,
        )

    def record(self) -> Draw:
        return Draw(
            self.prefixes,
            self.max_tokens,
            self.most,
            list(self.drawn),
            self.tokens,
            Usage(self.prompt_tokens, self.cached_tokens, self.completion_tokens),
            self.failure.failure() if self.failure else None,
            self.cut_short,
            self.limited_by,
            self.charge.charge(),
            self.opened,
            self.at,
        )


class _Refused(_Line, frozen=True, tag="refused"):
    unit: Unit
    at: Seconds = 0.0

    def record(self) -> Refused:
        return Refused(self.unit, self.at)


class _Scored(_Line, frozen=True, tag="scored"):
    digests: tuple[Digest, ...]
    scores: tuple[Score, ...] = ()
    read: Count = 0
    generated: Count = 0
    warnings: tuple[str, ...] = ()
    charge: _Charge = _FREE
    ended: Unit | None = None
    opened: Count | None = None
    within: Count | None = None
    at: Seconds = 0.0

    @classmethod
    def of(cls, scored: Scored) -> _Scored:
        verdict = scored.verdict
        return cls(
            scored.digests,
            verdict.scores,
            verdict.read,
            verdict.generated,
            verdict.warnings,
            _Charge.of(scored.charge),
            scored.ended,
            scored.opened,
            scored.within,
            scored.at,
        )

    def record(self) -> Scored:
        verdict = Verdict(self.scores, self.read, self.generated, self.warnings)
        charge = self.charge.charge()
        return Scored(self.digests, verdict, charge, self.ended, self.opened, self.within, self.at)


class _Findings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finding, by its kind: one of these, or none."""

    advice: Advice | None = None
    embedded: Embedded | None = None
    reading: Reading | None = None
    selection: Selection | None = None
    why: str | None = None

    @classmethod
    def of(cls, value: Finding | None) -> _Findings:
        match value:
            case Advice():
                return cls(advice=value)
            case Embedded():
                return cls(embedded=value)
            case Reading():
                return cls(reading=value)
            case Selection():
                return cls(selection=value)
            case _:
                return cls(why=value)

    def value(self) -> Finding | None:
        given = [value for value in msgspec.structs.astuple(self) if value is not None]
        if len(given) > 1:
            raise ValueError("a record holds one finding")
        if self.advice and self.advice.more < 0:
            raise ValueError("advice is to draw fewer than no samples")
        return given[0] if given else None


class _Settled(_Line, frozen=True, tag="settled"):
    found: _Findings
    charge: _Charge = _FREE
    ended: Unit | None = None
    opened: Count | None = None
    within: Count | None = None
    at: Seconds = 0.0

    @classmethod
    def of(cls, settled: Settled) -> _Settled:
        return cls(
            _Findings.of(settled.value),
            _Charge.of(settled.charge),
            settled.ended,
            settled.opened,
            settled.within,
            settled.at,
        )

    def record(self) -> Settled:
        value, charge = self.found.value(), self.charge.charge()
        return Settled(value, charge, self.ended, self.opened, self.within, self.at)


class _Retried(_Line, frozen=True, tag="retried"):
    def record(self) -> Retried:
        return Retried()


_Lines = _Opened | _Draw | _Refused | _Scored | _Settled | _Retried
_decoder: Final = msgspec.json.Decoder(_Lines)


def encode_record(record: Record) -> bytes:
    """The record as one line of JSON, without its end. Numbers that are not finite become null.

    A draw of a million tokens takes some milliseconds.
    """
    return msgspec.json.encode(_line(record))


def decode_record(line: bytes) -> Record:
    """The record in a line that `encode_record` wrote. Raises ValueError, saying what is wrong with any other."""
    try:
        record: Record = _decoder.decode(line).record()
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return record


def _line(record: Record) -> _Lines:
    match record:
        case Opened():
            charge = _Charge.of(record.charge)
            return _Opened(record.number, record.samples, record.tokens, charge, record.within)
        case Draw():
            return _Draw.of(record)
        case Refused():
            return _Refused(record.unit, record.at)
        case Scored():
            return _Scored.of(record)
        case Settled():
            return _Settled.of(record)
        case Retried():
            return _Retried()
