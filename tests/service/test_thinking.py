import asyncio
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from service import thinking as module
from service.errors import ApiError
from service.thinking import MOST_WAITING, THREADS, Thinking
from tests.reference import ROOT
from tests.stand_ins import until

NAME = ContextVar("NAME", default="nobody")


@pytest.fixture
async def thinking():
    thinking = Thinking()
    yield thinking
    await thinking.close()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


async def test_what_a_function_returns_or_raises_comes_back(thinking):
    assert await thinking.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await thinking.run(divmod, 7, 0)
    NAME.set("me")
    assert await thinking.run(NAME.get) == "me"


async def test_it_holds_up_no_other_threads(thinking, gate):
    jobs = [asyncio.create_task(thinking.run(gate.wait, 10)) for _ in range(10)]
    await asyncio.sleep(0)
    assert await asyncio.to_thread(int) == 0
    assert not any(job.done() for job in jobs)
    gate.set()
    assert await asyncio.gather(*jobs) == [True] * 10


async def test_too_many_jobs_are_refused_but_for_those_that_were_begun(thinking, gate):
    jobs = [asyncio.create_task(thinking.run(gate.wait, 10)) for _ in range(THREADS + MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refused:
        await thinking.run(gate.wait, 10)
    assert (refused.value.status, refused.value.code) == (503, "too_busy")
    assert refused.value.headers["Retry-After"] == "1"
    begun = asyncio.create_task(thinking.carry_on(gate.wait, 10))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*jobs, begun) == [True] * (len(jobs) + 1)
    assert await thinking.run(int) == 0


async def test_what_is_abandoned_before_its_turn_is_never_begun(thinking, gate):
    begun = []
    jobs = [asyncio.create_task(thinking.run(gate.wait, 10)) for _ in range(THREADS)]
    abandoned = asyncio.create_task(thinking.run(begun.append, 1))
    await asyncio.sleep(0)
    abandoned.cancel()
    await asyncio.wait([abandoned])
    gate.set()
    await asyncio.gather(*jobs)
    assert await thinking.run(int) == 0
    assert begun == []
    assert abandoned.cancelled()


async def test_closing_begins_nothing_more_and_leaves_what_takes_too_long(gate, monkeypatch):
    monkeypatch.setattr(module, "MOMENT", 0.05)
    thinking, going, begun = Thinking(), [], []

    def work() -> bool:
        going.append(1)
        return gate.wait(10)

    jobs = [asyncio.create_task(thinking.run(work)) for _ in range(THREADS)]
    waits = asyncio.create_task(thinking.run(begun.append, 1))
    await until(lambda: len(going) == THREADS)
    await thinking.close()
    assert not any(job.done() for job in jobs)
    gate.set()
    assert await asyncio.gather(*jobs) == [True] * THREADS
    assert (await asyncio.gather(waits, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    assert begun == []
    with pytest.raises(ApiError):
        await thinking.run(int)
    await until(lambda: not any(thread.is_alive() for thread in thinking._threads))


def test_a_process_that_ends_waits_for_no_thought():
    code = """if True:
        import asyncio, time
        from service.thinking import Thinking
        async def main():
            thinking = Thinking()
            job = asyncio.create_task(thinking.run(time.sleep, 600))
            await asyncio.sleep(0.05)
            job.cancel()
            await thinking.close()
        asyncio.run(main())
    """
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0
