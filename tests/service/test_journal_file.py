import json

import pytest

from engines.scripted import ScriptedEngine
from service.journal_file import JournalError, read_journal, write_journal
from strategies.journal import Draw, Opened
from tests.service.journals import ID, asked, body, recorded, world_of


@pytest.fixture
async def lines():
    """The lines of a small run's file."""
    async with world_of(ScriptedEngine(["15", "15", "16"])) as world:
        data = await recorded(world, body(scaling={"budget": {"samples": 3}}))
    return data.splitlines(keepends=True)


async def test_a_file_is_a_header_then_records_then_the_result(lines):
    header, *records, result = map(json.loads, lines)
    assert header["object"] == "aliquot.journal"
    assert header["request"]["scaling"] == {"budget": {"samples": 3}}
    assert [record["kind"] for record in records] == ["opened", "draw", "settled"]
    assert result["result"]["object"] == "scaling.outcome"


async def test_what_was_written_is_read(lines):
    journal = read_journal(b"".join(lines))
    assert journal.id == ID
    assert journal.request == asked(scaling={"budget": {"samples": 3}})
    assert [type(record) for record in journal.records[:2]] == [Opened, Draw]
    assert journal.result["scaling"]["spent"]["samples"] == 3


async def test_a_journal_may_have_no_result(lines):
    assert read_journal(b"".join(lines[:-1])).result is None
    header = json.loads(lines[0])
    written = write_journal("x", body(), json.dumps(header["facts"]).encode(), [], None)
    assert read_journal(b"".join(written)).result is None


async def test_a_request_written_over_several_lines_is_one_line_of_the_file(lines):
    facts = json.dumps(json.loads(lines[0])["facts"]).encode()
    request = json.dumps(json.loads(body()), indent=2).replace("\n", "\r\n").encode()
    written = list(write_journal("x", request, facts, [], None))
    assert [line.count(b"\n") for line in written] == [1, 1]
    assert read_journal(b"".join(written)).request == asked()


def changed(lines, change):
    header = json.loads(lines[0])
    change(header)
    return [json.dumps(header).encode() + b"\n", *lines[1:]]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: [], "line 1"),
        (lambda lines: lines[1:], "line 1"),
        (lambda lines: [b"\xff\xfe", *lines[1:]], "line 1"),
        (lambda lines: [b"[" * 100_000], "line 1"),
        (lambda lines: changed(lines, lambda h: h.update(object="scaling.outcome")), "line 1"),
        (lambda lines: changed(lines, lambda h: h.update(version=2)), "version 2"),
        (lambda lines: changed(lines, lambda h: h.pop("facts")), "facts"),
        (lambda lines: changed(lines, lambda h: h["facts"]["budget"].update(samples=10**9)), "samples"),
        (lambda lines: changed(lines, lambda h: h["request"].update(n="two")), "request: n"),
        (lambda lines: changed(lines, lambda h: h.update(request=7)), "request"),
        (lambda lines: [*lines[:2], b"{}\n", *lines[2:]], "line 3"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], "line 3"),
        (lambda lines: [*lines, lines[1]], "line 5"),
        (lambda lines: [*lines[:-1], b'{"result":[]}'], "line 5"),
        (lambda lines: [lines[0], *[b"\n"] * 1_000_001], "at most 1000000"),
    ],
)
async def test_what_is_no_journal_is_refused_with_its_line(lines, spoil, says):
    with pytest.raises(JournalError, match=says):
        read_journal(b"".join(spoil(lines)))
