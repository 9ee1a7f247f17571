"""`aliquot calibrate` stopped in the middle, and gone on with: nothing that was paid for is lost or asked again."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.service.cli.calibration import LOG, command, logged
from tests.service.cli.terminal import aliquot, started


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds. A process of its own may take long to start on a busy machine."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("answered", [0, 5])
async def test_a_killed_calibration_goes_on_where_it_was(world, tmp_path, answered):
    data = world.problems(tmp_path / "data.jsonl", 12)
    world.engine.allowed = asyncio.Semaphore(answered)
    async with started(*command(data, "--concurrency", "2"), url=world.url, cwd=tmp_path) as process:
        await until(lambda: len(world.engine.asked) == answered + 2)
        assert world.engine.waiting == 2  # and can only wait: the process is in the middle of these
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    done = {int(line["reference"]) for line in logged(tmp_path)}
    assert len(done) == answered
    before = (tmp_path / LOG).read_bytes()
    torn = b'{"messages":[{"role":"us'  # what a crash of the machine may leave
    (tmp_path / LOG).write_bytes(before + torn)
    asked = list(world.engine.asked)
    world.engine.allowed = asyncio.Semaphore(100)
    result = await aliquot(*command(data), url=world.url)
    assert result.exit_code == 0, result.output
    assert (tmp_path / LOG).read_bytes().startswith(before)
    assert len(logged(tmp_path)) == 12
    again = world.engine.asked[len(asked) :]
    kept = {i for i in range(12) if int(world.engine.world.problem(i).answer) in done}
    assert sorted(again) == sorted(set(range(12)) - kept)
    assert sorted(Counter(world.engine.asked).values()) == [1] * 10 + [2] * 2


async def test_ctrl_c_lets_what_is_under_way_finish(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    world.engine.allowed = asyncio.Semaphore(3)
    async with started(*command(data, "--concurrency", "2"), url=world.url, cwd=tmp_path) as process:
        await until(lambda: len(world.engine.asked) == 5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"Stopping" in await process.stderr.readline()
        for _ in range(10):
            world.engine.allowed.release()
        out, err = await process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert "Stopped. 5 problems of 12 are in" in " ".join(err.decode().split())
    assert len(world.engine.asked) == len(logged(tmp_path)) == 5
    result = await aliquot(*command(data), url=world.url)
    assert result.exit_code == 0, result.output
    assert sorted(world.engine.asked) == list(range(12))


async def test_a_second_ctrl_c_drops_it(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 12)
    world.engine.allowed = asyncio.Semaphore(3)
    async with started(*command(data, "--concurrency", "2"), url=world.url, cwd=tmp_path) as process:
        await until(lambda: len(world.engine.asked) == 5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"Stopping" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(logged(tmp_path)) == 3


async def test_a_log_torn_in_its_first_line_is_begun_anew(world, tmp_path):
    data = world.problems(tmp_path / "data.jsonl", 3)
    (tmp_path / LOG).write_bytes(b'{"calib')
    result = await aliquot(*command(data), url=world.url)
    assert result.exit_code == 0, result.output
    assert len(logged(tmp_path)) == 3
