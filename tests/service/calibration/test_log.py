import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.calibration.data import Response
from service.calibration.log import Log, LogError, Settings
from tests.service.calibration.problems import problem

SETTINGS = Settings("m", 4, "orm", 100, 0.7)
ODD = Response('a\r\n\u2028"\ud800', 3, False, -1.5)


def written(path, count: int) -> dict:
    """A log with so many problems, and what it is to keep."""
    kept = {problem(i).identity: (Response(f"answer {i}", i), ODD) for i in range(1, count + 1)}
    with Log(path, SETTINGS) as log:
        for i, responses in enumerate(kept.values(), start=1):
            log.append(problem(i), responses)
    return kept


def test_what_was_written_is_kept_by_the_problem(tmp_path):
    kept = written(tmp_path / "log", 3)
    with Log(tmp_path / "log", SETTINGS) as log:
        assert log.kept == kept


def test_every_line_is_on_disk_when_append_returns(tmp_path):
    with Log(tmp_path / "log", SETTINGS) as log:
        for count in range(1, 4):
            log.append(problem(count), [ODD])
            assert len((tmp_path / "log").read_bytes().splitlines()) == 1 + count


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_log_torn_anywhere_keeps_its_whole_lines_and_is_written_on(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("torn") / "log"
    kept = written(path, 3)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    torn = whole[: data.draw(st.integers(header, len(whole)))]
    path.write_bytes(torn)
    survivors = dict(list(kept.items())[: torn.count(b"\n") - 1])
    with Log(path, SETTINGS) as log:
        assert log.kept == survivors
        log.append(problem(9), [ODD])
    with Log(path, SETTINGS) as log:
        assert log.kept == survivors | {problem(9).identity: (ODD,)}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (Settings("other", 4, "orm", 100, 0.7), 'model "m"'),
        (Settings("m", 8, "orm", 100, 0.7), "samples 4"),
        (Settings("m", 4, None, 100, 0.7), 'verifier "orm"'),
        (Settings("m", 4, "orm", None, None), "max_tokens 100, temperature 0.7"),
    ],
)
def test_changed_settings_are_refused_with_what_was_different(tmp_path, changed, says):
    written(tmp_path / "log", 1)
    before = (tmp_path / "log").read_bytes()
    with pytest.raises(LogError, match=f"was made with {says}. Give the same again, or name another"):
        Log(tmp_path / "log", changed)
    assert (tmp_path / "log").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"notes", b'{"question": "x"}\n', b"[]\n", b'{"calibration": 3}', b"\n\n"]
)
def test_another_file_is_refused_and_stays_as_it_was(tmp_path, content):
    (tmp_path / "notes").write_bytes(content)
    with pytest.raises(LogError, match=r"is no log of a calibration\. Name another"):
        Log(tmp_path / "notes", SETTINGS)
    assert (tmp_path / "notes").read_bytes() == content


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "line 3 is no JSON"),
        (b'{"question": "x", "answer": "y"}', "line 3 has no responses"),
        (b'{"messages": [], "reference": "y", "responses": ["z"]}', "line 3: messages"),
    ],
)
def test_a_broken_line_between_others_is_told_and_nothing_is_changed(tmp_path, line, says):
    written(tmp_path / "log", 2)
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    lines.insert(2, line + b"\n")
    (tmp_path / "log").write_bytes(b"".join(lines))
    with pytest.raises(LogError, match=says):
        Log(tmp_path / "log", SETTINGS)
    assert (tmp_path / "log").read_bytes() == b"".join(lines)


def test_two_calibrations_do_not_write_one_log(tmp_path):
    with (
        Log(tmp_path / "log", SETTINGS),
        pytest.raises(LogError, match="is being written by another calibration"),
    ):
        Log(tmp_path / "log", SETTINGS)
    with Log(tmp_path / "log", SETTINGS) as log:
        assert log.kept == {}


def test_a_full_disk_leaves_whole_lines_alone(tmp_path, monkeypatch):
    kept = written(tmp_path / "log", 2)
    real = os.write

    def full(file, data):
        if len(data) > 10:
            return real(file, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Log(tmp_path / "log", SETTINGS) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match="No space left"):
                log.append(problem(3), [ODD] * 50)
        log.append(problem(4), [ODD])
    with Log(tmp_path / "log", SETTINGS) as log:
        assert log.kept == kept | {problem(4).identity: (ODD,)}


def test_a_line_is_recorded_data(tmp_path):
    written(tmp_path / "log", 1)
    header, line = (tmp_path / "log").read_text().splitlines()
    assert json.loads(header) == {
        "calibration": {
            "model": "m",
            "samples": 4,
            "verifier": "orm",
            "max_tokens": 100,
            "temperature": 0.7,
        }
    }
    assert set(json.loads(line)) == {"messages", "reference", "responses", "tokens", "finished", "scores"}
