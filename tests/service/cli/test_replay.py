import json
import sys

import pytest

from engines.scripted import ScriptedEngine
from tests.service.cli.terminal import aliquot
from tests.service.journals import body, recorded, world_of


@pytest.fixture
async def saved(tmp_path):
    """A file that holds a small run's journal."""
    async with world_of(ScriptedEngine(["15", "15", "16"])) as world:
        data = await recorded(world, body(scaling={"budget": {"samples": 3}}))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)
    return path


async def test_a_journal_that_holds_its_result_is_said_to(saved):
    result = await aliquot("replay", str(saved))
    assert result.exit_code == 0, result.output
    assert result.stdout == "The outcome is the recorded one.\n"


async def test_the_outcome_is_written_where_it_is_wanted_and_can_be_drawn(saved, tmp_path):
    out = tmp_path / "out.json"
    result = await aliquot("replay", str(saved), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"Wrote {out}."
    assert json.loads(out.read_text())["scaling"]["answers"][0]["answer"] == "15"
    assert (await aliquot("trace", str(out))).exit_code == 0


async def test_a_result_that_was_changed_fails_and_says_where(saved, tmp_path):
    saved.write_bytes(saved.read_bytes().replace(b'"votes":2', b'"votes":3'))
    out = tmp_path / "out.json"
    result = await aliquot("replay", str(saved), "--out", str(out))
    assert result.exit_code == 1
    assert "differ in candidates.0.votes, candidates.2.votes" in result.stderr
    assert out.exists()


async def test_without_a_result_there_is_nothing_to_compare_with(saved):
    saved.write_bytes(b"".join(saved.read_bytes().splitlines(keepends=True)[:-1]))
    result = await aliquot("replay", str(saved))
    assert result.exit_code == 0
    assert "holds no result" in result.stdout


async def test_a_journal_that_a_cancelled_job_left_unfinished_says_so(saved):
    header = saved.read_bytes().splitlines(keepends=True)[0]
    saved.write_bytes(header + b'{"result":null}\n')
    result = await aliquot("replay", str(saved))
    assert result.exit_code == 1
    assert "as where its job was cancelled or failed: it ends before a call for 3 samples" in result.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be replayed: line 1: "),
        (b"{}", "cannot be replayed: line 1: "),
        (b"\x1b[31m", "cannot be replayed: line 1: "),
    ],
)
async def test_what_is_no_journal_is_a_sentence(tmp_path, content, says):
    file = tmp_path / "journal.jsonl"
    file.write_bytes(content)
    result = await aliquot("replay", str(file), "--out", str(tmp_path / "out.json"))
    assert result.exit_code == 1
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]


async def test_files_that_cannot_be_read_or_written_are_sentences(saved, tmp_path):
    missing = await aliquot("replay", str(tmp_path / "none.jsonl"))
    nowhere = await aliquot("replay", str(saved), "--out", str(tmp_path / "none" / "x.json"))
    itself = await aliquot("replay", str(saved), "--out", str(saved))
    results = (missing, nowhere, itself)
    assert [result.exit_code for result in results] == [1, 1, 1]
    says = ("none.jsonl cannot be read: No such file", "cannot be written", "is the journal itself")
    for result, words in zip(results, says, strict=True):
        assert words in result.stderr


async def test_a_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["service.cli.replay"], "MOST_BYTES", 2**20)
    file = tmp_path / "journal.jsonl"
    file.write_bytes(b" " * (2**20 + 1))
    result = await aliquot("replay", str(file))
    assert result.exit_code == 1
    assert "larger than 1 MiB" in result.stderr


async def test_help_fits_and_shows_an_example():
    result = await aliquot("replay", "--help")
    assert "aliquot replay journal.jsonl" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
