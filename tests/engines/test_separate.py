import asyncio
from contextlib import aclosing

import pytest

from engines.base import Call, Chunk, EngineError
from engines.scripted import ScriptedEngine
from engines.separate import SeparateCalls


async def test_each_sample_is_a_call_of_its_own():
    engine = ScriptedEngine(["a", "b", "c", "d"])
    generation = await SeparateCalls(engine).sample(Call(((1,), (2,)), 2, 10, sampling={"seed": 5}))
    assert sorted(s.text for samples in generation.samples for s in samples) == ["a", "b", "c", "d"]
    assert [(call.n, len(call.prompts)) for call in engine.calls] == [(1, 1)] * 4
    assert [call.sampling["seed"] for call in engine.calls] == [5, 6, 5, 6]
    assert generation.usage.prompt_tokens == 2


async def test_a_failed_sample_is_missing_and_all_failed_is_a_failure():
    engine = SeparateCalls(ScriptedEngine(["a", EngineError("lost"), "c"]))
    assert [s.text for s in (await engine.sample(Call(((1,),), 3, 10))).samples[0]] == ["a", "c"]
    with pytest.raises(EngineError, match="no more replies"):
        await engine.sample(Call(((1,),), 2, 10))


async def test_a_stream_brings_each_sample_as_it_finishes_and_cancels_the_rest():
    inner = ScriptedEngine(["slow" * 500, "a"], step_seconds=0.005)
    async with aclosing(SeparateCalls(inner).stream(Call(((1,),), 2, 5000))) as stream:
        async for chunk in stream:
            assert isinstance(chunk, Chunk)
            assert (chunk.text, chunk.finish_reason) == ("a", "stop")
            break
    assert inner.generated == 1
    await asyncio.sleep(0)
