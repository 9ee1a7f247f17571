"""Replicas as one engine: where calls go, and what comes of those that meet a replica that fails."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import watch
from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineError, EngineRefused, EngineUnavailable, Usage
from engines.ejection import FIRST_REST
from engines.pool import Pool
from engines.scripted import ScriptedEngine
from engines.vllm import VllmEngine
from tests.engines.faulty import answers_500, breaks_after, faulty, half_a_body, half_json, piece, resets
from tests.stand_ins import MODEL, until

FAULTS = [answers_500, half_json, half_a_body, resets]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Down(ScriptedEngine):
    async def ready(self) -> bool:
        return False


def pool(count: int, **engines) -> Pool:
    return Pool({f"r{i}": engines.get(f"r{i}", ScriptedEngine(["x"] * 100)) for i in range(count)})


def call(affinity: bytes = b"p", **changes) -> Call:
    return Call(**{"prompts": ((1,),), "n": 1, "max_tokens": 10, "affinity": affinity} | changes)


def homed(pool: Pool, name: str) -> bytes:
    """An affinity whose home is the replica `name`."""
    return next(str(i).encode() for i in range(1000) if pool.order(str(i).encode())[0] == name)


def facts(pool: Pool) -> dict:
    return {r.name: (r.in_service, r.ejections, r.repeated) for r in pool.facts}


@asynccontextmanager
async def replicas(*names: str, clock=None):
    """A pool of faulty servers by these names, and an affinity whose home is the first."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(faulty()) for _ in names]
        engines = {n: VllmEngine("m", s.url, served_name=MODEL) for n, s in zip(names, servers, strict=True)}
        shared = Pool(engines, clock or Clock())
        stack.push_async_callback(shared.close)
        yield shared, homed(shared, names[0]), *servers


async def streamed(pool: Pool, asked: Call) -> tuple[dict, Assembly, Usage | None]:
    """The samples of a streamed call by place, what put them together, and the usage."""
    assembly, samples, usage = Assembly(asked), {}, None
    async with aclosing(pool.stream(asked)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Usage):
                usage = chunk
            elif sample := assembly.add(chunk):
                samples[chunk.prompt, chunk.choice] = sample.text
    return samples, assembly, usage


@given(st.binary(max_size=40), st.integers(2, 6))
def test_a_prompt_keeps_its_home_and_leaving_replicas_move_only_their_own(affinity, count):
    order = pool(count).order(affinity)
    assert order == pool(count).order(affinity)
    last = f"r{count - 1}"
    assert pool(count - 1).order(affinity) == [name for name in order if name != last]


def test_prompts_spread_evenly_over_replicas_whose_names_begin_alike():
    names = [f"http://{'engine-of-a-long-name.' * 4}{i}:8000" for i in range(4)]
    shared = Pool({name: ScriptedEngine([]) for name in names})
    homes = Counter(shared.order(str(i).encode())[0] for i in range(2000))
    assert all(400 < homes[name] < 600 for name in names)


async def test_calls_of_one_prompt_go_to_one_replica():
    engines = {f"r{i}": ScriptedEngine(["x"] * 100) for i in range(3)}
    shared = Pool(engines)
    for _ in range(5):
        await shared.sample(call(b"same"))
    assert sorted(len(engine.calls) for engine in engines.values()) == [0, 0, 5]


async def test_a_failed_call_is_repeated_elsewhere_and_its_replica_rests_then_has_one_trial():
    down, up, clock = ScriptedEngine([EngineUnavailable("down")] * 10), ScriptedEngine(["fine"] * 20), Clock()
    shared = Pool({"down": down, "up": up}, clock)
    home = homed(shared, "down")
    assert (await shared.sample(call(home))).samples[0][0].text == "fine"
    assert facts(shared) == {"down": (False, 1, 1), "up": (True, 0, 0)}
    await shared.sample(call(home))
    assert len(down.calls) == 1
    clock.now = FIRST_REST
    for _ in range(3):
        await shared.sample(call(home))
    assert len(down.calls) == 2
    down._script = ["back"] * 10
    down._drawn.clear()
    clock.now += 2 * FIRST_REST
    assert (await shared.sample(call(home))).samples[0][0].text == "back"
    assert facts(shared)["down"] == (True, 2, 2)


async def test_while_one_call_is_on_trial_the_others_go_elsewhere():
    clock = Clock()
    async with replicas("home", "other", clock=clock) as (shared, affinity, home, other):
        home.fault = answers_500
        await shared.sample(call(affinity))
        clock.now = FIRST_REST
        held = asyncio.Event()

        async def slow(request):
            home.fault = None
            await held.wait()
            return await home._completions(request)

        home.fault = slow
        trial = asyncio.create_task(shared.sample(call(affinity)))
        await until(lambda: home.completions == 2)
        await asyncio.gather(*(shared.sample(call(affinity)) for _ in range(5)))
        assert (home.completions, other.completions) == (2, 6)
        held.set()
        await trial
        await shared.sample(call(affinity))
        assert home.completions == 3


async def test_a_trial_whose_caller_leaves_shows_nothing():
    clock = Clock()
    async with replicas("home", "other", clock=clock) as (shared, affinity, home, _):
        home.fault = answers_500
        await shared.sample(call(affinity))
        clock.now = FIRST_REST

        async def slow(_):
            await asyncio.sleep(3600)

        home.fault = slow
        leaving = asyncio.create_task(shared.sample(call(affinity)))
        await until(lambda: home.completions == 2)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert facts(shared)["home"][:2] == (False, 1)
        home.fault = None
        await shared.sample(call(affinity))
        assert facts(shared)["home"][:2] == (True, 1)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("generate", [Pool.sample, streamed])
async def test_a_replica_that_fails_is_passed_over(fault, generate):
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.fault = fault
        answer = await generate(shared, call(affinity))
        assert "fine" in str(answer)
        assert (home.completions, other.completions) == (1, 1)
        assert facts(shared) == {"home": (False, 1, 1), "other": (True, 0, 0)}


@pytest.mark.parametrize("generate", [Pool.sample, streamed])
async def test_a_replica_that_hangs_is_passed_over_and_left_alone(generate, monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.hung = True
        assert "fine" in str(await generate(shared, call(affinity)))
        assert "fine" in str(await generate(shared, call(affinity)))
        assert (home.completions, other.completions) == (1, 2)
        assert facts(shared) == {"home": (False, 1, 1), "other": (True, 0, 0)}


async def test_a_slow_replica_is_not_ejected(monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.02)
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.engine = ScriptedEngine(["slow"], step_seconds=0.05)
        assert "slow" in str(await shared.sample(call(affinity)))
        assert facts(shared)["home"] == (True, 0, 0)
        assert "/health" in home.asked
        assert other.completions == 0


async def test_a_deadline_of_the_caller_ejects_nobody():
    async with replicas("home", "other") as (shared, affinity, home, _):
        home.engine = ScriptedEngine(["slow"], step_seconds=10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await shared.sample(call(affinity))
        assert facts(shared)["home"] == (True, 0, 0)


async def test_a_refused_call_is_not_repeated():
    engines = {f"r{i}": ScriptedEngine([EngineRefused("n must be 1")] * 5) for i in range(3)}
    with pytest.raises(EngineRefused):
        await Pool(engines).sample(call())
    assert sum(len(engine.calls) for engine in engines.values()) == 1


async def test_a_call_that_breaks_two_replicas_is_not_given_to_a_third():
    engines = {f"r{i}": ScriptedEngine([EngineUnavailable("died", began=True)] * 5) for i in range(4)}
    with pytest.raises(EngineUnavailable, match="died"):
        await Pool(engines).sample(call())
    assert sum(len(engine.calls) for engine in engines.values()) == 2


async def test_replicas_that_turn_a_call_away_are_all_asked():
    engines = {f"r{i}": ScriptedEngine([EngineUnavailable("503")] * 5) for i in range(4)}
    with pytest.raises(EngineUnavailable, match="503") as failure:
        await Pool(engines).sample(call())
    assert [len(engine.calls) for engine in engines.values()] == [1] * 4
    assert not failure.value.began


async def test_a_call_that_fails_for_good_says_whether_one_attempt_may_have_generated():
    began, away = EngineUnavailable("broke", began=True), EngineUnavailable("away")
    shared = Pool({"a": ScriptedEngine([began]), "b": ScriptedEngine([away])})
    for home in ("a", "b"):
        with pytest.raises(EngineUnavailable, match="broke") as failure:
            await pool_of(began, away).sample(call(homed(shared, home)))
        assert failure.value.began


def pool_of(a: EngineError, b: EngineError) -> Pool:
    return Pool({"a": ScriptedEngine([a]), "b": ScriptedEngine([b])})


@pytest.mark.parametrize("count", [1, 3])
async def test_where_no_replica_answers_a_call_fails_without_asking_one_after_the_other(count, monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)
    names = [f"r{i}" for i in range(count)]
    async with replicas(*names) as (shared, affinity, *servers):
        for server in servers:
            server.hung = True
        with pytest.raises(EngineUnavailable, match="stopped answering"):
            await shared.sample(call(affinity))
        assert [server.completions for server in servers] == [1] + [0] * (count - 1)
        with pytest.raises(EngineUnavailable):
            await shared.sample(call(affinity))
        assert sum(server.completions for server in servers) == 1
        assert not await shared.ready()


async def test_where_every_replica_has_been_ejected_one_that_answers_is_asked_all_the_same():
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.fault = other.fault = answers_500
        with pytest.raises(EngineUnavailable, match="500"):
            await shared.sample(call(affinity))
        assert not any(in_service for in_service, _, _ in facts(shared).values())
        home.fault = other.fault = None
        await shared.sample(call(affinity))
        assert facts(shared)["home"][0]


async def test_a_single_replica_that_is_back_is_asked_at_once():
    async with replicas("only") as (shared, affinity, only):
        only.fault = resets
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="broke"):
                await shared.sample(call(affinity))
        only.fault = None
        await shared.sample(call(affinity))
        assert facts(shared) == {"only": (True, 1, 0)}


async def test_reading_a_prompt_is_no_trial_and_takes_no_replica_back():
    async with replicas("home", "other") as (shared, affinity, home, _):
        home.fault = answers_500
        await shared.sample(call(affinity))
        for text in "abcdefgh":
            await shared.tokenize([{"role": "user", "content": text}])
        assert "/tokenize" not in home.asked
        assert not facts(shared)["home"][0]


async def test_a_prompt_that_a_single_replica_reads_does_not_take_it_back():
    async with replicas("only") as (shared, affinity, only):
        only.fault = answers_500
        with pytest.raises(EngineUnavailable):
            await shared.sample(call(affinity))
        assert await shared.tokenize([{"role": "user", "content": "a"}])
        assert not facts(shared)["only"][0]


async def test_a_stream_on_trial_takes_its_replica_back_as_soon_as_it_brings_something():
    clock = Clock()
    async with replicas("home", "other", clock=clock) as (shared, affinity, home, _):
        home.fault = answers_500
        await shared.sample(call(affinity))
        clock.now = FIRST_REST
        home.fault = breaks_after(piece(0, "a"), silent=True)
        async with aclosing(shared.stream(call(affinity))) as chunks:
            await anext(chunks)
            assert facts(shared)["home"][0]


async def test_calls_that_were_under_way_do_not_take_a_replica_back():
    async with replicas("home", "other") as (shared, affinity, home, _):
        home.engine = ScriptedEngine(["abc"], step_seconds=0.01)
        async with aclosing(shared.stream(call(affinity))) as chunks:
            await anext(chunks)
            home.fault = answers_500
            await shared.sample(call(affinity))
            assert [chunk async for chunk in chunks]
        assert facts(shared)["home"] == (False, 1, 1)


async def test_a_call_is_repeated_on_a_replica_in_service_before_one_that_was_ejected():
    engines = {name: ScriptedEngine(["x"] * 9) for name in "abc"}
    shared = Pool(engines, Clock())
    home, ejected, in_service = shared.order(b"p")
    engines[home]._script = [EngineUnavailable("down")]
    engines[ejected]._script = [EngineUnavailable("down"), "y"]
    await shared.sample(call(homed(shared, ejected)))
    assert not facts(shared)[ejected][0]
    before = len(engines[in_service].calls)
    await shared.sample(call(b"p"))
    assert len(engines[in_service].calls) == before + 1


async def test_a_replica_that_does_not_say_it_is_alive_gets_no_call_on_trial():
    down, up, clock = Down([EngineUnavailable("down"), "back"]), ScriptedEngine(["fine"] * 9), Clock()
    shared = Pool({"down": down, "up": up}, clock)
    home = homed(shared, "down")
    await shared.sample(call(home))
    clock.now = FIRST_REST
    await shared.sample(call(home))
    assert len(down.calls) == 1
    assert facts(shared)["down"][:2] == (False, 2)


async def test_a_stream_that_breaks_goes_on_elsewhere_for_the_samples_that_had_not_finished():
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.fault = breaks_after(piece(1, "done", "stop"), piece(0, "half"), piece(2, "h"))
        asked = call(affinity, n=3, sampling={"seed": 7})
        samples, assembly, usage = await streamed(shared, asked)
        assert samples == {(0, 0): "fine", (0, 1): "done", (0, 2): "fine"}
        assert assembly.tokens == 3 * 4
        assert usage == Usage(1, cached_tokens=0, completion_tokens=None)
        ((_, body),) = other.requests
        assert (body["n"], body["seed"]) == (2, 10)


async def test_a_broken_stream_of_several_prompts_goes_on_with_those_that_miss_something():
    async with replicas("home", "other") as (shared, affinity, home, other):
        other.engine = ScriptedEngine(lambda prompt: [f"of {ord(prompt)}"] * 4)
        home.fault = breaks_after(piece(0, "a", "stop"), piece(1, "b"), piece(3, "c"), piece(4, "d", "stop"))
        asked = call(affinity, prompts=((1,), (2,), (3,)), n=2)
        samples, _, usage = await streamed(shared, asked)
        assert samples == {
            (0, 0): "a",
            (0, 1): "of 1",
            (1, 0): "of 2",
            (1, 1): "of 2",
            (2, 0): "d",
            (2, 1): "of 3",
        }
        assert usage == Usage(3)
        assert [body["prompt"] for _, body in other.requests] == [[[1], [2], [2], [3]]]


async def test_a_stream_that_breaks_after_its_last_sample_is_whole():
    async with replicas("home", "other") as (shared, affinity, home, other):
        home.fault = breaks_after(piece(0, "done", "stop"))
        samples, _, _ = await streamed(shared, call(affinity))
        assert samples == {(0, 0): "done"}
        assert other.completions == 0


@pytest.mark.parametrize("names", [("only",), ("home", "other")])
async def test_what_finished_is_kept_where_a_stream_breaks_for_good(names):
    async with replicas(*names) as (shared, affinity, *servers):
        for server in servers:
            server.fault = breaks_after(piece(0, "done", "stop"), piece(1, "ha"))
        finished = []
        failure = None
        try:
            async for chunk in shared.stream(call(affinity, n=3)):
                finished += [(chunk.choice, chunk.text)] if chunk.finish_reason else []
        except EngineUnavailable as error:
            failure = error
        assert failure is not None
        assert failure.began
        assert finished == [(0, "done"), (1, "done")][: len(names)]


async def test_a_stream_that_fails_before_anything_came_says_nothing_of_beginning_anew():
    down, up = ScriptedEngine([EngineUnavailable("down")] * 5), ScriptedEngine(["ok"] * 5)
    shared = Pool({"down": down, "up": up})
    chunks = [chunk async for chunk in shared.stream(call(homed(shared, "down")))]
    assert [chunk.text for chunk in chunks if isinstance(chunk, Chunk)] == ["o", "k"]
    assert not any(chunk.anew for chunk in chunks if isinstance(chunk, Chunk))
    assert chunks[-1] == Usage(1, 0, 2)


async def test_a_pool_is_ready_as_soon_as_one_replica_says_so():
    class Silent(ScriptedEngine):
        async def ready(self):
            await asyncio.sleep(3600)

    silent = pool(2, r0=Silent([]))
    assert await silent.ready()
    assert await pool(2, r0=Down([])).ready()
    assert not await pool(2, r0=Down([]), r1=Down([])).ready()
    await silent.close()


async def test_many_calls_at_once_ask_a_replica_once_whether_it_answers():
    asked = []

    class Counted(Down):
        async def ready(self):
            asked.append(self)
            await asyncio.sleep(0.01)
            return False

    engines = {name: Counted([EngineUnavailable("down")] * 100) for name in "ab"}
    shared = Pool(engines)
    for _ in range(2):
        results = await asyncio.gather(
            *(shared.sample(call(b"%d" % i)) for i in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, EngineUnavailable) for result in results)
    assert len(asked) == 4


def test_a_pool_needs_a_replica():
    with pytest.raises(ValueError, match="at least one replica"):
        Pool({})
