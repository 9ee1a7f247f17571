import asyncio
import operator
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from verifiers.workers import MEBIBYTE, WorkerFailed, Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers() -> AsyncIterator[Workers]:
    pool = Workers(size=1, memory=64 * MEBIBYTE, preload=())
    yield pool
    await pool.close()


def processes(*, of: int) -> list[int]:
    """The worker processes whose command line names `of` as their parent."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "verifiers.worker_process" in words and str(of) in words:
            found.append(int(entry.parent.name))
    return found


async def test_a_result_comes_back(workers: Workers) -> None:
    assert await workers.run(operator.concat, ["a\ud800\0"], [None, 1.5], timeout=5) == [
        "a\ud800\0",
        None,
        1.5,
    ]


async def test_one_process_serves_many_calls(workers: Workers) -> None:
    first = await workers.run(os.getpid, timeout=5)
    assert [await workers.run(os.getpid, timeout=5) for _ in range(5)] == [first] * 5
    assert first != os.getpid()


async def test_a_call_that_never_ends_is_killed_and_the_pool_goes_on(workers: Workers) -> None:
    before = await workers.run(os.getpid, timeout=5)
    with pytest.raises(WorkerFailed, match="no result within"):
        await workers.run(operator.pow, 10, 10**9, timeout=0.1)
    after = await workers.run(os.getpid, timeout=5)
    assert after != before


async def test_a_memory_bomb_is_contained(workers: Workers) -> None:
    with pytest.raises(WorkerFailed, match="MemoryError"):
        await workers.run(operator.mul, "x" * 1024, 1024 * 1024, timeout=5)
    assert await workers.run(operator.add, 1, 2, timeout=5) == 3


async def test_a_crash_is_contained(workers: Workers) -> None:
    with pytest.raises(WorkerFailed, match="ended"):
        await workers.run(os.abort, timeout=5)
    assert await workers.run(operator.add, 1, 2, timeout=5) == 3


async def test_an_exception_is_named_and_the_process_kept(workers: Workers) -> None:
    before = await workers.run(os.getpid, timeout=5)
    with pytest.raises(WorkerFailed, match="ZeroDivisionError"):
        await workers.run(operator.truediv, 1, 0, timeout=5)
    assert await workers.run(os.getpid, timeout=5) == before


async def test_what_a_call_prints_does_not_disturb_the_answers(workers: Workers) -> None:
    await workers.run(print, "noise", timeout=5)
    assert await workers.run(operator.add, 1, 2, timeout=5) == 3


async def test_ctrl_c_is_left_to_the_parent(workers: Workers) -> None:
    worker = await workers.run(os.getpid, timeout=5)
    os.kill(worker, signal.SIGINT)
    assert await workers.run(os.getpid, timeout=5) == worker


async def test_a_worker_that_died_idle_is_replaced(workers: Workers) -> None:
    worker = await workers.run(os.getpid, timeout=5)
    os.kill(worker, signal.SIGKILL)
    for _ in range(100):
        await asyncio.sleep(0.01)
        if worker not in processes(of=os.getpid()):
            break
    assert await workers.run(os.getpid, timeout=5) != worker


async def test_cancelling_a_call_kills_its_worker(workers: Workers) -> None:
    worker = await workers.run(os.getpid, timeout=5)
    call = asyncio.create_task(workers.run(time.sleep, 60, timeout=60))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert worker not in processes(of=os.getpid())
    assert await workers.run(operator.add, 1, 2, timeout=5) == 3


async def test_calls_wait_for_a_free_worker_without_losing_their_time(workers: Workers) -> None:
    calls = [workers.run(time.sleep, 0.2, timeout=0.35) for _ in range(4)]
    assert await asyncio.gather(*calls) == [None] * 4


async def test_warm_starts_every_worker_and_close_leaves_none() -> None:
    pool = Workers(size=2, preload=())
    others = set(processes(of=os.getpid()))
    await pool.warm()
    assert len(set(processes(of=os.getpid())) - others) == 2
    await pool.close()
    assert set(processes(of=os.getpid())) - others == set()
    with pytest.raises(WorkerFailed, match="closed"):
        await pool.run(os.getpid, timeout=1)


async def test_close_ends_a_call_under_way() -> None:
    pool = Workers(size=1, preload=())
    await pool.warm()
    call = asyncio.create_task(pool.run(time.sleep, 60, timeout=60))
    await asyncio.sleep(0.05)
    await pool.close()
    with pytest.raises(WorkerFailed, match="ended"):
        await call


async def test_a_worker_that_cannot_start_says_so() -> None:
    pool = Workers(size=1, preload=("no_such_module",))
    with pytest.raises(WorkerFailed, match="did not start"):
        await pool.run(os.getpid, timeout=1)
    await pool.close()


@pytest.mark.skipif(
    sys.platform != "linux", reason="a busy worker learns of its parent's death on Linux alone"
)
async def test_workers_die_with_their_parent_even_when_busy() -> None:
    script = (
        "import asyncio, time\n"
        "from verifiers.workers import Workers\n"
        "async def main():\n"
        "    pool = Workers(size=2, preload=())\n"
        "    await pool.warm()\n"
        "    calls = asyncio.gather(pool.run(time.sleep, 60, timeout=60))\n"
        "    await asyncio.sleep(0.1)\n"
        "    print('busy', flush=True)\n"
        "    await calls\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[2])
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=PIPE, cwd=root)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"busy\n"
    assert len(processes(of=parent.pid)) == 2
    parent.kill()
    await parent.wait()
    for _ in range(100):
        if not processes(of=parent.pid):
            break
        await asyncio.sleep(0.02)
    assert processes(of=parent.pid) == []
