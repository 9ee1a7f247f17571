import asyncio

import pytest

from service.calibration.asking import LeftOut, Refused
from service.calibration.data import Response
from service.calibration.log import Log, Settings
from service.calibration.running import MOST_FAILURES, Calibration
from tests.service.calibration.problems import problem
from tests.stand_ins import until
from verifiers.workers import Workers

SETTINGS = Settings("m", 2)
TWO = (Response("15", 3), Response("14", 5))


class Answers:
    """Stands in for `Asking`: `two` for each problem, once `gate` is open; or what `fail` raises for it."""

    def __init__(self, fail=lambda line: None, *, open: bool = True) -> None:
        self.fail = fail
        self.gate = asyncio.Event()
        self.asked: list[int] = []
        if open:
            self.gate.set()

    async def responses(self, problem):
        self.asked.append(problem.line)
        await self.gate.wait()
        await asyncio.sleep(0)
        if failure := self.fail(problem.line):
            raise failure
        return TWO


def calibration(count: int, **more) -> Calibration:
    problems = [problem(i) for i in range(1, count + 1)]
    return Calibration(problems, "number", Workers(1), told=lambda progress: None)


async def run(answers: Answers, log_path, count: int = 12, concurrency: int = 3) -> Calibration:
    made = calibration(count)
    with Log(log_path, SETTINGS) as log:
        await made.take(log)
        await made.run(answers, log, concurrency)
    return made


async def test_every_problem_is_asked_once_graded_and_kept(tmp_path):
    answers = Answers()
    done = (await run(answers, tmp_path / "log")).progress
    assert sorted(answers.asked) == list(range(1, 13))
    assert (done.done, done.right, done.samples, done.tokens) == (12, 12, 24, 96)
    again = Answers()
    resumed = (await run(again, tmp_path / "log")).progress
    assert again.asked == []
    assert resumed.graded == done.graded


async def test_never_more_than_the_concurrency_are_under_way(tmp_path):
    answers = Answers(open=False)
    task = asyncio.create_task(run(answers, tmp_path / "log", concurrency=3))
    await until(lambda: len(answers.asked) == 3)
    await asyncio.sleep(0.01)
    assert len(answers.asked) == 3
    answers.gate.set()
    await task


async def test_a_cancel_lets_what_is_under_way_finish_and_begins_no_more(tmp_path):
    answers = Answers(open=False)
    task = asyncio.create_task(run(answers, tmp_path / "log", concurrency=3))
    await until(lambda: len(answers.asked) == 3)
    task.cancel()
    await asyncio.sleep(0.01)
    answers.gate.set()
    done = (await task).progress
    assert done.stopped
    assert sorted(done.graded) == [0, 1, 2]
    with Log(tmp_path / "log", SETTINGS) as log:
        assert len(log.kept) == 3


async def test_a_second_cancel_drops_it(tmp_path):
    answers = Answers(open=False)
    task = asyncio.create_task(run(answers, tmp_path / "log"))
    await until(lambda: len(answers.asked) == 3)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answers.gate.set()
    await asyncio.sleep(0.01)
    with Log(tmp_path / "log", SETTINGS) as log:
        assert log.kept == {}


async def test_problems_that_fail_are_left_out_and_tried_again_the_next_time(tmp_path):
    done = (
        await run(Answers(lambda line: LeftOut("Too long.") if line % 4 == 0 else None), tmp_path / "log")
    ).progress
    assert done.left_out == dict.fromkeys((3, 7, 11), "Too long.")
    assert done.done == 12
    again = Answers()
    await run(again, tmp_path / "log")
    assert sorted(again.asked) == [4, 8, 12]


async def test_failures_in_a_row_end_it(tmp_path):
    answers = Answers(lambda line: LeftOut("Gone.") if line > 4 else None)
    done = (await run(answers, tmp_path / "log", count=100, concurrency=1)).progress
    assert len(answers.asked) == 4 + MOST_FAILURES
    assert (len(done.graded), len(done.left_out)) == (4, MOST_FAILURES)


async def test_a_refusal_lets_the_others_finish_and_is_raised(tmp_path):
    answers = Answers(lambda line: Refused("No such model.") if line == 2 else None, open=False)
    task = asyncio.create_task(run(answers, tmp_path / "log", count=100, concurrency=3))
    await until(lambda: len(answers.asked) == 3)
    answers.gate.set()
    with pytest.raises(Refused, match="No such model"):
        await task
    with Log(tmp_path / "log", SETTINGS) as log:
        assert {problem(1).identity, problem(3).identity} <= log.kept.keys()
    assert len(answers.asked) < 6


async def test_recorded_responses_are_taken_without_asking(tmp_path):
    made = Calibration(
        [problem(1, recorded=TWO), problem(2, recorded=TWO, correct=(False, False))],
        "number",
        Workers(1),
        told=lambda progress: None,
    )
    await made.take(None)
    assert [sum(made.progress.graded[i].right) for i in (0, 1)] == [1, 0]


async def test_progress_is_told_at_every_step(tmp_path):
    told = []
    made = Calibration([problem(i) for i in range(3)], "number", Workers(1), lambda p: told.append(p.done))
    with Log(tmp_path / "log", SETTINGS) as log:
        await made.run(Answers(), log, 1)
    assert told == [1, 2, 3]
    assert (made.progress.right, made.progress.samples) == (3, 6)
