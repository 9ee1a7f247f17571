from collections import Counter
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Call, Chunk, EngineRefused, EngineUnavailable
from engines.pool import REST_SECONDS, Pool
from engines.scripted import ScriptedEngine


def pool(count: int, **engines) -> Pool:
    return Pool({f"r{i}": engines.get(f"r{i}", ScriptedEngine(["x"] * 100)) for i in range(count)})


def call(affinity: bytes = b"p") -> Call:
    return Call(((1,),), 1, 10, affinity=affinity)


@given(st.binary(max_size=40), st.integers(2, 6))
def test_a_prompt_keeps_its_home_and_leaving_replicas_move_only_their_own(affinity, count):
    order = pool(count).order(affinity)
    assert order == pool(count).order(affinity)
    last = f"r{count - 1}"
    assert pool(count - 1).order(affinity) == [name for name in order if name != last]


def test_prompts_spread_evenly_over_replicas():
    homes = Counter(pool(4).order(str(i).encode())[0] for i in range(2000))
    assert all(400 < homes[f"r{i}"] < 600 for i in range(4))


async def test_calls_of_one_prompt_go_to_one_replica():
    engines = {f"r{i}": ScriptedEngine(["x"] * 100) for i in range(3)}
    shared = Pool(engines)
    for _ in range(5):
        await shared.sample(call(b"same"))
    assert sorted(len(engine.calls) for engine in engines.values()) == [0, 0, 5]


async def test_a_failed_call_is_repeated_elsewhere_and_its_replica_rests():
    down = ScriptedEngine([EngineUnavailable("down")] * 10)
    up = ScriptedEngine(["fine"] * 10)
    now = [0.0]
    shared = Pool({"down": down, "up": up}, clock=lambda: now[0])
    home = next(str(i).encode() for i in range(100) if shared.order(str(i).encode())[0] == "down")
    assert (await shared.sample(call(home))).samples[0][0].text == "fine"
    assert shared.order(home) == ["up", "down"]
    await shared.sample(call(home))
    assert len(down.calls) == 1
    now[0] = REST_SECONDS + 1
    assert shared.order(home) == ["down", "up"]


async def test_a_refused_call_is_not_repeated():
    engines = {f"r{i}": ScriptedEngine([EngineRefused("n must be 1")] * 5) for i in range(3)}
    with pytest.raises(EngineRefused):
        await Pool(engines).sample(call())
    assert sum(len(engine.calls) for engine in engines.values()) == 1


async def test_a_stream_is_repeated_elsewhere_only_before_it_began():
    class Breaks(ScriptedEngine):
        async def stream(self, call):
            self.calls.append(call)
            yield Chunk(0, 0, "a", (97,))
            raise EngineUnavailable("broke", began=True)

    down, up = ScriptedEngine([EngineUnavailable("down")] * 5), ScriptedEngine(["ok"] * 5)
    shared = Pool({"a": down, "b": up})
    async with aclosing(shared.stream(call())) as stream:
        assert "".join([c.text async for c in stream if isinstance(c, Chunk)]) == "ok"
    breaks = {"a": Breaks([]), "b": Breaks([])}
    stream = Pool(breaks).stream(call())
    assert await anext(stream) == Chunk(0, 0, "a", (97,))
    with pytest.raises(EngineUnavailable, match="broke"):
        await anext(stream)
    assert sum(len(engine.calls) for engine in breaks.values()) == 1


async def test_a_pool_is_ready_while_one_replica_is():
    class Down(ScriptedEngine):
        async def ready(self):
            return False

    assert await pool(2, r0=Down([])).ready()
    assert not await pool(2, r0=Down([]), r1=Down([])).ready()


def test_a_pool_needs_a_replica():
    with pytest.raises(ValueError, match="at least one replica"):
        Pool({})
