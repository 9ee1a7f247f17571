import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from service.calibration import asking
from tests.reference import SHARED
from tests.service.cli.calibration import LOG, command, logged, profiles
from tests.service.cli.terminal import WIDTH, aliquot

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = "data.simulated.default.calibration.svg"


def tooltips(picture: Path) -> list[str]:
    root = ElementTree.fromstring(picture.read_text())
    return [title.text for circle in root.iter(f"{SVG}circle") for title in circle.iter(f"{SVG}title")]


async def test_a_calibration_is_shown_drawn_logged_and_kept_by_the_service(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 40)
    result = await aliquot(*command(data, "--verifier", "orm", samples=8), url=world.url)
    assert result.exit_code == 0, result.output
    for shown in (
        "accuracy of a sample",
        "Beta of the difficulty, a",
        "two wrong answers agree",
        "AUC of orm",
    ):
        assert shown in result.stdout
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines() if "Wrote" not in line)
    assert [len(line["responses"]) for line in logged(tmp_path)] == [8] * 40
    (kept,) = await profiles(world.url)
    assert (kept["model"], kept["task"], kept["problems"], kept["samples"]) == (
        "simulated",
        "default",
        40,
        320,
    )
    assert f"{100 * kept['accuracy']['value']:.1f} %" in result.stdout
    assert 0.5 < kept["verifiers"]["orm"]["auc"]["value"] < 1


async def test_the_picture_holds_a_point_for_every_strategy_and_number_of_samples(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 30)
    result = await aliquot(*command(data, "--verifier", "orm", samples=8), url=world.url)
    told = [tip.splitlines() for tip in tooltips(tmp_path / PICTURE)]
    points = {lines[0]: lines[1:] for lines in told if len(lines) == 3}
    strategies = ("coverage", "majority", "best_of_n with orm")
    samples = ("1 sample", *(f"{n} samples" for n in (2, 3, 4, 6, 8)))
    assert set(points) == {f"{name}, {n}" for name in strategies for n in samples}
    right = sum(
        f"is {reference['reference']}." in text
        for reference in logged(tmp_path)
        for text in reference["responses"]
    )
    assert points["coverage, 1 sample"][0] == f"observed {100 * right / 240:.1f} %"
    assert f"{points['coverage, 8 samples'][0][9:-2]}" in result.stdout
    for observed, predicted in points.values():
        value, low, high = map(float, re.findall(r"([\d.]+) %(?! interval)", predicted))
        assert low <= value <= high
        assert abs(float(observed.split()[1]) - value) < 15


async def test_without_a_verifier_there_are_coverage_and_the_vote(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    result = await aliquot(*command(data, "--task", "a/b", "--out", str(tmp_path / "x.svg")), url=world.url)
    assert result.exit_code == 0, result.output
    assert {tip.partition(",")[0] for tip in tooltips(tmp_path / "x.svg")} == {"coverage", "majority"}
    assert (tmp_path / "data.simulated.a%2Fb.calibration.jsonl").exists()
    (kept,) = await profiles(world.url)
    assert (kept["task"], kept["verifiers"]) == ("a/b", {})


async def test_the_same_command_again_asks_nothing_and_says_the_same(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    first = await aliquot(*command(data), url=world.url)
    assert sorted(world.engine.asked) == list(range(12))
    picture = (tmp_path / PICTURE).read_text()
    again = await aliquot(*command(data), url=world.url)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert len(world.engine.asked) == 12
    assert (tmp_path / PICTURE).read_text() == picture


async def test_more_problems_and_another_format_keep_what_was_drawn(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    await aliquot(*command(data, "--limit", "8"), url=world.url)
    assert sorted(world.engine.asked) == list(range(8))
    result = await aliquot(*command(data, "--format", "auto"), url=world.url)
    assert result.exit_code == 0, result.output
    assert sorted(world.engine.asked) == list(range(12))


async def test_the_samples_do_not_depend_on_when_they_are_drawn(world, tmp_path):
    for name, concurrency in (("one", "1"), ("two", "7")):
        (tmp_path / name).mkdir()
        data = world.problems(tmp_path / name / "data.jsonl", 10)
        await aliquot(*command(data, "--concurrency", concurrency), url=world.url)
    one, two = (
        {line["reference"]: line["responses"] for line in logged(tmp_path / name)} for name in ("one", "two")
    )
    assert one == two


async def test_a_terminal_shows_how_far_it_is(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    ours, theirs = os.openpty()
    program = Path(sys.executable).with_name("aliquot")
    environment = {"ALIQUOT_URL": world.url, "COLUMNS": "120", "TERM": "xterm", "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        program, *command(data), stdin=DEVNULL, stdout=DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = await asyncio.to_thread(until_closed, ours)
    assert await process.wait() == 0
    assert re.search(r"12/12 .*[\d.]+ % right, [\d,]+ tokens", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown))


def until_closed(terminal: int) -> str:
    """What a terminal was told until its last writer left."""
    told = b""
    with suppress(OSError):
        while part := os.read(terminal, 65_536):
            told += part
    os.close(terminal)
    return told.decode()


async def test_changed_settings_are_refused_before_anything_is_asked(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 3)
    await aliquot(*command(data), url=world.url)
    for more, says in (
        (("--samples", "8"), "was made with samples 4"),
        (("--max-tokens", "50"), "was made with max_tokens left out"),
        (("--temperature", "0.5"), "was made with temperature left out"),
        (("--verifier", "orm"), "was made with verifier left out"),
    ):
        result = await aliquot(*command(data, *more), url=world.url)
        assert result.exit_code == 1
        assert says in result.stderr
        assert "another file with --log" in result.stderr
    assert len(world.engine.asked) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "regex"), "There is no --format regex"),
        (("--model", "gpt-9"), "There is no model gpt-9. There are simulated."),
        (("--verifier", "luck"), "There is no verifier 'luck'"),
        (("--samples", "300"), "--samples 300 is above the service's limits.samples. Lower --samples"),
        (("--task", ""), "--task has 0 characters. Give it a name of 1 to 128."),
        (("--task", "x" * 129), "--task has 129 characters"),
        (("--task", "\udcff"), "--task is not UTF-8"),
        (("--url", "http://127.0.0.1:9"), "Start one with `make serve`"),
        (("--url", "nowhere"), "is no address of a service"),
        (("--format", "choice"), "Choose another with --format"),
        (("--log", "{data}"), "is no log of a calibration"),
        (("--log", "{folder}/none/log"), "cannot be written: No such file"),
        (("--out", "{data}"), "is the data or the log itself"),
        (("--out", "{folder}"), "is no file"),
        (("--data", "{folder}/none"), "cannot be read: No such file"),
        (("--data", "{folder}"), "cannot be read: Is a directory"),
    ],
)
async def test_what_is_wrong_is_a_sentence_and_the_data_stay_as_they_are(world, tmp_path, words, says):
    data = world.problems(tmp_path / "data.jsonl", 3)
    before = data.read_bytes()
    named = [word.format(data=data, folder=tmp_path) for word in words]
    result = await aliquot(*command(data, *named), url=world.url)
    assert result.exit_code == 1
    assert says in result.stderr, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert data.read_bytes() == before
    assert world.engine.asked == []


async def test_a_bad_line_is_told_with_its_number_before_anything_is_asked(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 3)
    data.write_text(data.read_text() + '{"question": "7 + 8?"}\n')
    result = await aliquot(*command(data), url=world.url)
    assert result.exit_code == 1
    assert "line 4: the problem has none of answer, reference. Give one of them." in result.stderr
    assert world.engine.asked == []


async def test_too_many_samples_are_refused_before_anything_is_asked(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 101)
    result = await aliquot(*command(data, samples=200), url=world.url)
    assert result.exit_code == 1
    assert "101 problems with 20,200 samples are too many" in result.stderr
    assert world.engine.asked == []


async def test_a_problem_that_fails_is_left_out_and_told(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    long = {"question": "word " * 40_000, "answer": "3"}
    data.write_text(json.dumps(long) + "\n" + data.read_text())
    result = await aliquot(*command(data), url=world.url)
    assert result.exit_code == 0, result.output
    assert "1 problem left out, to be tried again by the same command: " in result.stdout
    assert len(logged(tmp_path)) == 12


async def test_a_service_that_goes_away_ends_it_with_what_is_kept(monkeypatch, world, tmp_path):
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.0)
    data = world.problems(tmp_path / "data.jsonl", 20)
    real, answered = asking.Asking.responses, 0

    async def responses(self, problem):
        nonlocal answered
        answered += 1
        if answered > 6:
            self._client.base_url = "http://127.0.0.1:9"
        return await real(self, problem)

    monkeypatch.setattr(asking.Asking, "responses", responses)
    result = await aliquot(*command(data, "--concurrency", "1"), url=world.url)
    assert result.exit_code == 1
    assert "does not answer any more. 5 problems one after the other brought nothing." in result.stderr
    assert "6 problems of 20 are in" in result.stderr
    assert len(logged(tmp_path)) == 6


async def test_recorded_responses_are_calibrated_without_sampling(world, tmp_path):
    lines = [
        {
            "question": f"{i}?",
            "answer": "1",
            "responses": ["The answer is 1.", f"The answer is {i % 3}.", "2"],
            "scores": [0.9, 0.3 + 0.1 * (i % 3), 0.2],
        }
        for i in range(30)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = await aliquot(*command(data, "--verifier", "orm", samples=3), url=world.url)
    assert result.exit_code == 0, result.output
    assert "Tokens of 30 problems are guessed, 4 characters each" in result.stdout
    assert world.engine.asked == []
    assert not (tmp_path / LOG).exists()
    (kept,) = await profiles(world.url)
    assert (kept["problems"], kept["samples"]) == (30, 90)
    unnamed = await aliquot(*command(data, samples=3), url=world.url)
    assert "The recorded scores are not used: --verifier names what gave them." in unnamed.stdout
    data.write_text("".join(json.dumps(line | {"scores": None}) + "\n" for line in lines))
    refused = await aliquot(*command(data, "--verifier", "orm"), url=world.url)
    assert (refused.exit_code, "line 1 has responses and no scores of orm" in refused.stderr) == (1, True)


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded responses are no part of the project")
async def test_recorded_mathematics_gives_the_accuracies_that_are_known_of_it(world, tmp_path):
    data = SHARED / "data" / "math_rm8_first50.jsonl"
    out = tmp_path / "x.svg"
    words = ("--verifier", "orm", "--format", "math", "--out", str(out))
    result = await aliquot("calibrate", "--data", str(data), "--samples", "8", *words, url=world.url)
    assert result.exit_code == 0, result.output
    observed = {
        tip.split("\n")[0]: float(re.search(r"observed ([\d.]+) %", tip)[1])
        for tip in tooltips(out)
        if "observed" in tip
    }
    assert observed["coverage, 8 samples"] == 98.0
    # 48 of 50 with ties going to the first drawn; here they go to the first in random orders.
    assert observed["majority, 8 samples"] == pytest.approx(96.0, abs=0.5)
    assert observed["best_of_n with orm, 8 samples"] == pytest.approx(96.0, abs=0.5)


async def test_help_fits_and_shows_examples():
    result = await aliquot("calibrate", "--help")
    assert "aliquot calibrate" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
