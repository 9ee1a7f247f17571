"""What `aliquot calibrate` says and keeps where something is wrong with the samples or with the names."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from service.cli.calibrate import MOST_TASK
from service.schemas import TaskName
from tests.service.cli.calibration import LOG, command, logged, profiles
from tests.service.cli.simulated import simulated
from tests.service.cli.terminal import aliquot


def recorded(file, rights: list[list[bool]]):
    """Data with responses that are right as given, and scores."""
    lines = (
        {
            "question": f"{i}?",
            "answer": "1",
            "responses": ["1" if right else "2" for right in each],
            "tokens": [5] * len(each),
            "scores": [0.5 + i / 1000 + n / 100 for n in range(len(each))],
        }
        for i, each in enumerate(rights)
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


async def test_samples_that_a_limit_of_the_service_cut_are_refused_and_not_logged(tmp_path):
    async with simulated(limits={"tokens": 60}) as world:
        data = world.problems(tmp_path / "data.jsonl", 12)
        refused = await aliquot(*command(data), url=world.url)
        assert refused.exit_code == 1
        assert "Raise limits.tokens in the service's configuration, or set --max-tokens" in refused.stderr
        assert logged(tmp_path) == []
    async with simulated() as world:
        result = await aliquot(*command(data), url=world.url)
        assert result.exit_code == 0, result.output
        assert len(logged(tmp_path)) == 12
        assert all(all(line["finished"]) for line in logged(tmp_path))


async def test_a_verifier_that_saw_nothing_right_is_left_out_and_its_log_serves_without_it(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    lines = [json.loads(line) | {"answer": "987654321"} for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = await aliquot(*command(data, "--verifier", "orm"), url=world.url)
    assert result.exit_code == 0, result.output
    assert "orm scored no right response" in result.stdout
    (kept,) = await profiles(world.url)
    assert (kept["problems"], kept["verifiers"]) == (12, {})
    before = (tmp_path / LOG).read_bytes()
    without = await aliquot(*command(data), url=world.url)
    assert without.exit_code == 0, without.output
    assert len(world.engine.asked) == 12
    assert (tmp_path / LOG).read_bytes() == before


async def test_a_verifier_that_saw_nothing_wrong_is_left_out(world, tmp_path):
    data = recorded(tmp_path / "data.jsonl", [[True] * 4] * 12)
    result = await aliquot(*command(data, "--verifier", "orm"), url=world.url)
    assert result.exit_code == 0, result.output
    assert "orm scored no wrong response" in result.stdout
    assert "No problem has both right and wrong samples" in result.stdout


@pytest.mark.parametrize(
    ("rights", "few", "alike"),
    [
        ([[True, False]] * 9, True, False),
        ([[True, False]] * 10, False, False),
        ([[True, True], [False, False]] * 5, False, True),
        ([[True, False]] + [[True, True]] * 9, False, False),
        ([[False, False]], True, True),
    ],
)
async def test_numbers_that_are_guesses_are_called_so(world, tmp_path, rights, few, alike):
    data = recorded(tmp_path / "data.jsonl", rights)
    result = await aliquot(*command(data, samples=2), url=world.url)
    assert result.exit_code == 0, result.output
    assert ("these numbers are guesses" in result.stdout) == few
    assert ("how much more samples help is a guess" in result.stdout) == alike


async def test_names_reach_the_terminal_and_the_files_without_their_control_characters(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 3)
    result = await aliquot(*command(data, "--task", "a/b\x1b[31m\x07\x9b"), url=world.url)
    assert result.exit_code == 0, result.output
    assert "the task a/b[31m." in result.stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(result.output)
    assert all(file.name.isprintable() for file in tmp_path.iterdir())
    again = await aliquot(*command(data, "--task", "a-b"), url=world.url)
    assert again.exit_code == 0, again.output
    assert len(list(tmp_path.glob("*.jsonl"))) == 3


def test_the_longest_name_of_a_task_is_the_service_s():
    adapter = TypeAdapter(TaskName)
    adapter.validate_python("x" * MOST_TASK)
    with pytest.raises(ValidationError):
        adapter.validate_python("x" * (MOST_TASK + 1))
