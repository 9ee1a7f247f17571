"""What a replica takes on, what it refuses, and what it says then."""

import asyncio
import contextlib
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.load import Load
from engines.transport import Transport
from service import admission as admitting
from service.admission import RATE_SECONDS, Admission, Rate
from service.draining import Draining
from service.errors import ApiError
from service.settings import Limits
from tests.service.live import live
from tests.stand_ins import until

SAMPLES = 4
ASKED = {"scaling": {"budget": {"samples": SAMPLES}}}


def admission(**limits) -> Admission:
    return Admission(Limits(**limits), Draining())


def watched(load: Load | None, **limits) -> Admission:
    """One whose model `m` has an engine that said so, twice; it is out of reach now."""
    made = admission(**limits)
    made.watch("m", {"gone": Transport("http://127.0.0.1:9")})
    for at in (0.0, 0.1):
        made.loads["m"].window.heard(load, at + 1e12)
    return made


class Held:
    """Requests that wait in the engine until they are let go; `most` were there at once."""

    def __init__(self, served) -> None:
        self.gate = asyncio.Event()
        self.now = self.most = 0
        served.stand_in.engine = served.script(lambda _: iter(lambda: "15", None))
        sample = served.stand_in.engine.sample

        async def hold(call):
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.gate.wait()
                return await sample(call)
            finally:
                self.now -= 1

        served.stand_in.engine.sample = hold


@pytest.fixture
async def small():
    """A service that takes four requests at once, and has budgets without a deadline: calls are not streamed."""
    defaults = {"budget": {"samples": SAMPLES}}
    async with live(limits={"requests_at_once": 4}, defaults=defaults) as served:
        yield served


async def metrics(served) -> dict[str, float]:
    text = (await served.client.get("/metrics")).text
    return {name: float(value) for name, value in re.findall(r"^(aliquot_\S+) (\S+)$", text, re.MULTILINE)}


async def test_of_twenty_times_what_it_takes_the_rest_is_refused_while_what_was_taken_still_runs(small):
    held = Held(small)
    asking = [asyncio.create_task(small.chat(**ASKED)) for _ in range(80)]
    await until(lambda: sum(task.done() for task in asking) == 76 and held.now == 4)
    refused = [task.result() for task in asking if task.done()]
    assert {(r.status_code, r.json()["error"]["code"]) for r in refused} == {(429, "overloaded")}
    assert all(1 <= int(r.headers["retry-after"]) <= 60 for r in refused)
    told = await metrics(small)
    assert told['aliquot_under_way{priority="interactive"}'] == 4
    assert told['aliquot_refused_total{reason="replica_full"}'] == 76
    held.gate.set()
    assert Counter(r.status_code for r in await asyncio.gather(*asking)) == {200: 4, 429: 76}
    assert held.most == 4
    assert (await metrics(small))['aliquot_admitted_total{priority="interactive"}'] == 4
    assert (await small.chat(**ASKED)).status_code == 200


async def test_a_burst_again_and_again_leaves_nothing_behind(small):
    held = Held(small)
    tasks = []
    for _ in range(3):
        asking = [asyncio.create_task(small.chat(**ASKED)) for _ in range(40)]
        await until(lambda asking=asking: sum(task.done() for task in asking) == 36)
        held.gate.set()
        await asyncio.gather(*asking)
        held.gate.clear()
        tasks.append(len(asyncio.all_tasks()))
    assert tasks[2] <= tasks[0] + 4
    assert (await metrics(small))['aliquot_under_way{priority="interactive"}'] == 0


async def test_a_full_replica_does_not_even_read_what_it_refuses(small):
    held = Held(small)
    asking = [asyncio.create_task(small.chat(**ASKED)) for _ in range(4)]
    await until(lambda: held.now == 4)
    assert (await small.client.post("/v1/scale", content=b"no JSON")).status_code == 429
    held.gate.set()
    await asyncio.gather(*asking)
    assert (await small.client.post("/v1/scale", content=b"no JSON")).status_code == 400


async def test_a_stream_holds_its_place_to_its_end(small):
    served = small
    served.script(["x" * 30_000] * 16, step_seconds=0.01)
    body = {"model": "stand-in", "messages": [{"role": "user", "content": "?"}], "stream": True} | ASKED
    async with contextlib.AsyncExitStack() as streams:
        for path in ("/v1/chat/completions", "/v1/scale") * 2:
            await streams.enter_async_context(served.client.stream("POST", path, json=body))
        assert (await served.chat(**ASKED)).status_code == 429
    await until(lambda: served.stand_in.running == 0)
    served.script(["15"] * 4)
    async with asyncio.timeout(5):
        while (await served.chat(**ASKED)).status_code == 429:
            await asyncio.sleep(0.01)


async def test_who_fails_or_leaves_gives_its_place_back(small):
    held = Held(small)
    for _ in range(3):
        asking = [asyncio.create_task(small.chat(**ASKED)) for _ in range(4)]
        await until(lambda: held.now == 4)
        for task in asking:
            task.cancel()
        await until(lambda: held.now == 0)
        refused = [await small.chat(model="none") for _ in range(6)]
        assert {r.status_code for r in refused} == {404}


async def test_a_full_engine_is_503_and_says_when_to_come_again(monkeypatch):
    monkeypatch.setattr("service.engine_load.QUICK_SECONDS", 0.01)
    async with live() as served:
        served.stand_in.load = (16, 64, 0.5)
        held = Held(served)
        first = [asyncio.create_task(served.scale(**ASKED)) for _ in range(2)]
        await until(lambda: held.now == 2)
        refused = await served.scale(**ASKED)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        told = await metrics(served)
        assert told['aliquot_refused_total{reason="engine_waiting"}'] == 1
        (waiting,) = (
            told[name] for name in told if name.startswith('aliquot_engine_waiting{model="stand-in",replica=')
        )
        assert waiting == 64
        held.gate.set()
        await asyncio.gather(*first)


async def test_as_an_idle_engine_shows_that_it_has_room_all_of_a_burst_are_let_in(monkeypatch):
    monkeypatch.setattr("service.engine_load.QUICK_SECONDS", 0.01)
    async with live() as served:
        served.stand_in.load = (4, 0, 0.1)
        held = Held(served)
        asking = [asyncio.create_task(served.scale(**ASKED)) for _ in range(30)]
        await until(lambda: held.now == 30)
        held.gate.set()
        assert {r.status_code for r in await asyncio.gather(*asking)} == {200}


async def test_who_finds_no_room_in_time_is_refused(monkeypatch):
    monkeypatch.setattr(admitting, "PATIENCE_SECONDS", 0.05)
    full = watched(None)
    full.loads["m"].window.allowed = 0
    monkeypatch.setattr(full.loads["m"].window, "heard", lambda *_: None)
    with pytest.raises(ApiError) as refused:
        async with full.entered("m"):
            pass
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    await full.close()


async def test_who_waits_for_a_reading_counts_among_what_the_replica_holds(monkeypatch):
    full = watched(None, requests_at_once=2)
    full.loads["m"].window.allowed = 0
    monkeypatch.setattr(full.loads["m"].window, "heard", lambda *_: None)

    async def enter():
        async with full.entered("m"):
            pass

    waiting = [asyncio.create_task(enter()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refused:
        await enter()
    assert refused.value.status == 429
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    full.check()
    await full.close()


async def test_jobs_wait_for_interactive_requests_and_are_not_refused():
    busy = admission(requests_at_once=4)
    assert busy.room_for_jobs()
    async with busy.entered("m"):
        assert busy.room_for_jobs()
        async with busy.entered("m"):
            assert not busy.room_for_jobs()
            async with busy.entered("m"), busy.entered("m"), busy.entered("m", "job"):
                with pytest.raises(ApiError):
                    busy.check()


@pytest.mark.parametrize(
    ("load", "room"),
    [(None, True), (Load(64, 0, 0.5), True), (Load(64, 20, 0.5), False), (Load(64, 0, 0.9), False)],
)
async def test_no_job_is_begun_where_sequences_wait(load, room):
    assert watched(load).room_for_jobs() is room


async def test_a_replica_that_drains_begins_no_job():
    draining = Draining()
    taking = Admission(Limits(), draining)
    draining.begin()
    assert not taking.room_for_jobs()


async def test_what_is_cut_ends_with_503_and_nothing_more_is_taken():
    ending = admission()

    async def work():
        async with ending.entered("m"):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    ending.cut()
    with pytest.raises(ApiError) as cut:
        await working
    assert (cut.value.status, cut.value.code, cut.value.retry_after) == (503, "shutting_down", 1)
    with pytest.raises(ApiError):
        ending.check()


async def test_who_waits_for_a_reading_while_it_is_cut_is_not_let_in():
    ending = watched(None)
    ending.loads["m"].window.allowed = 0
    entered = False

    async def enter():
        nonlocal entered
        async with ending.entered("m"):
            entered = True

    waiting = asyncio.create_task(enter())
    await asyncio.sleep(0)
    ending.cut()
    with pytest.raises(ApiError) as cut:
        await waiting
    assert (cut.value.code, entered) == ("shutting_down", False)
    await ending.close()


async def test_a_cancel_that_is_no_cut_stays_a_cancel():
    going = admission()

    async def work():
        async with going.entered("m"):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert going.under_way["interactive"] == 0


async def test_retry_after_is_how_long_what_is_under_way_will_take_at_the_rate_of_late(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("service.admission.time.monotonic", lambda: now)
    one = admission()
    assert one.retry_after() == 5  # nothing is known yet
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(60):  # two a second for half a minute
            async with one.entered():
                now += 0.5
        for _ in range(20):
            await stack.enter_async_context(one.entered())
        assert one.retry_after() == pytest.approx(10, abs=1)
        now += 10 * RATE_SECONDS
        assert one.retry_after() == 60


@given(st.floats(0.001, 5), st.integers(1, 500))
def test_events_that_come_evenly_have_their_rate_from_the_first_one_on(gap, count):
    rate = Rate(0.0)
    for number in range(1, count + 1):
        rate.add(number * gap)
    assert rate.at(count * gap) == pytest.approx(1 / gap, rel=0.2)
