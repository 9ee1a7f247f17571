"""Engines that die, hang, dawdle and talk nonsense, behind real services and a real nginx."""

import asyncio

import pytest

from tests.cluster.asking import ask_all, fine, statuses

PROBLEMS = range(100, 140)
DEADLINE = {"budget": {"samples": 4, "seconds": 20}}


def break_engine(engine, fault: str) -> None:
    if fault == "killed":
        engine.kill()
    else:
        engine.fault(fault, seconds=0.5)


@pytest.mark.parametrize("fault", ["killed", "hang", "slow", "error", "half"])
async def test_with_one_engine_broken_every_request_completes_on_the_other(house, fault):
    break_engine(house.engines[0], fault)
    async with asyncio.timeout(DEADLINE["budget"]["seconds"]):
        answers = await ask_all(house.url, PROBLEMS, **DEADLINE)
    assert statuses(answers) == {200: len(PROBLEMS)}, [a.text[:300] for a in answers if a.status_code != 200][
        :2
    ]
    for answer in answers:
        fine(answer)
        assert answer.json()["scaling"]["spent"]["samples"] == 4


@pytest.mark.parametrize("fault", ["killed", "hang", "error", "half"])
async def test_with_both_engines_broken_every_request_says_why_within_its_deadline(house, fault):
    for engine in house.engines:
        break_engine(engine, fault)
    async with asyncio.timeout(12):  # none hangs
        answers = await ask_all(house.url, range(8), budget={"samples": 4, "seconds": 8})
    assert set(statuses(answers)) <= {503, 504}
    for answer in answers:
        fine(answer)
        assert answer.json()["error"]["code"] in ("engine_unavailable", "deadline_before_first_answer")


async def test_an_engine_that_is_back_is_used_again(house):
    house.engines[0].kill()
    await ask_all(house.url, PROBLEMS)
    house.engines[0].start()
    house.engines[0].ready()
    for _ in range(30):
        await ask_all(house.url, PROBLEMS)
        if house.engines[0].seen()["calls"]:
            return
        await asyncio.sleep(1)
    pytest.fail("the engine that came back was not asked again")
