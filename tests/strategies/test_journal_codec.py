import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.budget import BudgetExhausted
from budgets.tariff import Charge
from engines.base import EngineError, EngineGarbage, EngineRefused, EngineUnavailable, Sample, Usage
from strategies.advice import Advice
from strategies.journal import Draw, Drawn, Opened, Reading, Refused, Retried, Scored, Settled
from strategies.journal_codec import decode_record, encode_record
from strategies.selection import Selection
from verifiers.base import Embedded, Verdict

COUNTS = st.integers(0, 10**9)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
AMOUNTS = st.floats(0, 1e25)
CHARGES = st.builds(Charge, AMOUNTS, AMOUNTS, AMOUNTS)
UNITS = st.sampled_from(["samples", "tokens", "seconds", "eflops", "usd"])
DIGESTS = st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(tuple)
WITHIN = {"opened": st.none() | COUNTS, "within": st.none() | COUNTS, "at": st.floats(0, 1e6)}
TEXTS = st.lists(st.text(), max_size=3).map(tuple)
SAMPLES = st.builds(
    Sample,
    st.text(),
    st.lists(COUNTS, max_size=6).map(tuple),
    st.sampled_from(["stop", "length"]),
    st.none() | NUMBERS,
    st.lists(st.dictionaries(st.text(), NUMBERS, max_size=2), max_size=2).map(tuple),
    st.none() | st.text(),
    st.text(),
)
FAILURES = st.one_of(
    st.none(),
    st.builds(EngineError, st.text()),
    st.builds(EngineRefused, st.text()),
    st.builds(EngineGarbage, st.text()),
    st.builds(EngineUnavailable, st.text(), began=st.booleans()),
    st.builds(BudgetExhausted, UNITS),
)
DRAWS = st.builds(
    Draw,
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 10**9),
    st.lists(st.builds(Drawn, COUNTS, COUNTS, SAMPLES), max_size=3),
    COUNTS,
    st.builds(Usage, COUNTS, st.none() | COUNTS, st.none() | COUNTS),
    FAILURES,
    st.booleans(),
    st.none() | UNITS,
    CHARGES,
    opened=st.none() | COUNTS,
    at=st.floats(0, 1e6),
)
VERDICTS = st.builds(Verdict, st.lists(st.none() | NUMBERS).map(tuple), COUNTS, COUNTS, TEXTS)
FINDINGS = st.one_of(
    st.none(),
    st.text(),
    st.builds(Advice, COUNTS, TEXTS, st.none() | NUMBERS, st.text()),
    st.builds(Embedded, st.lists(st.lists(NUMBERS, max_size=3).map(tuple), max_size=3).map(tuple), COUNTS),
    st.builds(Reading, st.lists(st.none() | st.text()).map(tuple), TEXTS, st.booleans()),
    st.builds(Selection, st.lists(COUNTS).map(tuple), NUMBERS, st.booleans()),
)
OTHERS = st.one_of(
    st.builds(Opened, COUNTS, COUNTS, COUNTS, CHARGES, st.none() | COUNTS),
    st.builds(Refused, UNITS, st.floats(0, 1e6)),
    st.builds(Scored, DIGESTS, VERDICTS, CHARGES, st.none() | UNITS, **WITHIN),
    st.builds(Settled, FINDINGS, CHARGES, st.none() | UNITS, **WITHIN),
    st.builds(Retried),
)


def parts(draw: Draw) -> list[object]:
    failure = draw.failure
    told = (type(failure), str(failure), getattr(failure, "began", None), getattr(failure, "unit", None))
    return [getattr(draw, name) for name in Draw.__slots__ if name != "failure"] + [told]


@given(OTHERS)
def test_every_record_comes_back_as_it_was(record):
    assert decode_record(encode_record(record)) == record


@given(DRAWS)
def test_every_draw_comes_back_with_its_samples_and_its_failure(draw):
    assert parts(decode_record(encode_record(draw))) == parts(draw)


@given(DRAWS | OTHERS)
def test_a_record_is_one_line(record):
    assert len(encode_record(record).splitlines()) == 1


@given(st.binary() | st.text().map(str.encode))
def test_any_other_line_is_refused_with_a_sentence(line):
    with pytest.raises(ValueError, match=r"\w"):
        decode_record(line)


OPENED = {"kind": "opened", "number": 1, "samples": 1, "tokens": 1}
DRAW = {"kind": "draw", "prefixes": 1, "max_tokens": 1, "most": 1}
SCORED = {"kind": "scored", "digests": []}
SETTLED = {"kind": "settled", "found": {}}


@pytest.mark.parametrize(
    "line",
    [
        {},
        [],
        {"kind": "drawn"},
        OPENED | {"tokens": -1},
        OPENED | {"tokens": 10**30},
        OPENED | {"tokens": 1.5},
        OPENED | {"charge": [-1.0]},
        OPENED | {"charge": [1e300]},
        OPENED | {"more": 1},
        DRAW | {"prefixes": 0},
        DRAW | {"max_tokens": 0},
        DRAW | {"at": -1.0},
        DRAW | {"failure": {"kind": "budget", "message": "patience"}},
        DRAW | {"failure": {"kind": "KeyboardInterrupt", "message": ""}},
        DRAW | {"drawn": [{"prompt": 0, "choice": 0, "sample": {"text": 1}}]},
        SCORED | {"digests": ["AAAA"]},
        SCORED | {"scores": ["1"]},
        SETTLED | {"found": {"advice": {"more": -1}}},
        SETTLED | {"found": {"advice": {"more": 1}, "why": "both"}},
        SETTLED | {"found": {"selection": {"leaves": [1], "objective": "high", "proven": True}}},
    ],
)
def test_a_line_that_is_no_record_is_refused(line):
    with pytest.raises(ValueError, match=r"\w"):
        decode_record(json.dumps(line).encode())


@pytest.mark.parametrize("record", [OPENED, DRAW, SCORED, SETTLED])
def test_these_lines_are_records_as_they_stand(record):
    assert decode_record(json.dumps(record).encode())


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"refused","unit":"usd","at":NaN}',
        b'{"kind":"refused","unit":"usd","at":1e999}',
        b'{"kind":"settled","found":{"why":"' + b"\\ud800" + b'"}}',
        b'{"kind":"settled","found":' + b"[" * 100_000,
        b'{"kind":"settled","found":{"why":"' + b"\xff" + b'"}}',
    ],
)
def test_what_is_no_json_is_refused(line):
    with pytest.raises(ValueError, match=r"\w"):
        decode_record(line)


def test_a_score_that_is_no_number_becomes_none():
    record = Scored((), Verdict((float("nan"), float("inf"), 0.5)))
    assert decode_record(encode_record(record)).verdict.scores == (None, None, 0.5)
