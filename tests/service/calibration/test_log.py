import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.calibration.data import Response
from service.calibration.log import Log, LogError, Settings, default_path
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
    torn = whole[: data.draw(st.integers(0, header) | st.integers(header, len(whole)))]
    path.write_bytes(torn)
    survivors = dict(list(kept.items())[: max(0, torn.count(b"\n") - 1)])
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
        (Settings("m", 4, "prm", 100, 0.7), 'verifier "orm"'),
        (Settings("m", 4, None, 100, 0.5), "temperature 0.7"),
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
    "content",
    [b"notes", b'{"question": "x"}\n', b"[]\n", b'{"calibration": 3}', b"\n\n", b'{"calib\n', b'{"calib\nx'],
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


def test_a_log_made_with_a_verifier_serves_a_run_without_one_and_one_with_it_again(tmp_path):
    path, bare = tmp_path / "log", replace(SETTINGS, verifier=None)
    scored = written(path, 2)
    unscored = (Response("x", 1),)
    with Log(path, bare) as log:
        assert log.kept == scored
        log.append(problem(3), unscored)
    with Log(path, bare) as log:
        assert log.kept == scored | {problem(3).identity: unscored}
    with Log(path, SETTINGS) as log:  # a problem that the verifier has not seen is asked for again
        assert log.kept == scored
        log.append(problem(3), [ODD])
    for either in (SETTINGS, bare):
        with Log(path, either) as log:
            assert log.kept == scored | {problem(3).identity: (ODD,)}


def test_a_log_made_without_a_verifier_does_not_serve_one_with_it(tmp_path):
    with Log(tmp_path / "log", replace(SETTINGS, verifier=None)):
        pass
    with pytest.raises(LogError, match="was made with verifier left out"):
        Log(tmp_path / "log", SETTINGS)


NAMES = st.text(st.sampled_from("ab-./%2EF é"), min_size=1, max_size=5)


@given(NAMES, NAMES, NAMES, NAMES)
def test_each_model_and_task_has_a_log_of_its_own_beside_the_data(model, task, other_model, other_task):
    data = Path("folder/data.jsonl")
    one, other = default_path(data, model, task), default_path(data, other_model, other_task)
    assert (one == other) == ((model, task) == (other_model, other_task))
    assert one.parent == data.parent
    assert one.name.isascii()
    assert one.name.isprintable()


def test_ordinary_names_stay_as_they_are_and_controls_never_get_into_a_file_name():
    data = Path("data.jsonl")
    assert default_path(data, "qwen2.5-7b", "gsm8k").name == "data.qwen2.5-7b.gsm8k.calibration.jsonl"
    assert default_path(data, "m", "a/b\x1b[2J").name == "data.m.a%2Fb%1B%5B2J.calibration.jsonl"


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
