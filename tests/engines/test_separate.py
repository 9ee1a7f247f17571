import asyncio
from contextlib import aclosing

import pytest

from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineError, EngineRefused, Usage
from engines.scripted import ScriptedEngine
from engines.separate import SeparateCalls


async def test_each_sample_is_a_call_of_its_own():
    engine = ScriptedEngine(["a", "b", "c", "d"])
    generation = await SeparateCalls(engine).sample(Call(((1,), (2,)), 2, 10, sampling={"seed": 5}))
    assert sorted(s.text for samples in generation.samples for s in samples) == ["a", "b", "c", "d"]
    assert [(call.n, len(call.prompts)) for call in engine.calls] == [(1, 1)] * 4
    assert [call.sampling["seed"] for call in engine.calls] == [5, 6, 7, 8]
    assert generation.usage == Usage(prompt_tokens=2, completion_tokens=4)


async def test_a_failed_sample_is_missing_and_all_failed_is_a_failure():
    engine = SeparateCalls(ScriptedEngine(["a", EngineError("lost"), "c"]))
    assert [s.text for s in (await engine.sample(Call(((1,),), 3, 10))).samples[0]] == ["a", "c"]
    with pytest.raises(EngineError, match="no more replies"):
        await engine.sample(Call(((1,),), 2, 10))


async def test_what_a_failed_sample_may_have_generated_counts():
    refused = EngineRefused("no")
    generation = await SeparateCalls(ScriptedEngine(["a", EngineError("lost"), refused])).sample(
        Call(((1,),), 3, 10)
    )
    assert generation.usage == Usage(prompt_tokens=1, completion_tokens=11)


async def test_prompts_with_a_seed_are_calls_of_their_own_so_that_equal_ones_differ():
    inner = ScriptedEngine(["a", "b", "c", "d"])
    engine = SeparateCalls(inner, each="prompt")
    generation = await engine.sample(Call(((1,), (1,)), 2, 10, sampling={"seed": 5}))
    assert [(call.n, call.sampling["seed"]) for call in inner.calls] == [(2, 5), (2, 7)]
    assert [[s.text for s in samples] for samples in generation.samples] == [["a", "b"], ["c", "d"]]
    assert generation.usage == Usage(prompt_tokens=2, cached_tokens=0, completion_tokens=4)


@pytest.mark.parametrize("call", [Call(((1,), (2,)), 2, 10), Call(((1,),), 4, 10, sampling={"seed": 5})])
async def test_a_call_without_a_seed_or_with_one_prompt_goes_through_whole(call):
    inner = ScriptedEngine("abcdabcd")
    engine = SeparateCalls(inner, each="prompt")
    plain = await engine.sample(call)
    assembly = Assembly(call)
    streamed = [
        (chunk.prompt, assembly.add(chunk).text)
        async for chunk in engine.stream(call)
        if isinstance(chunk, Chunk)
    ]
    assert inner.calls == [call, call]
    assert streamed == [(p, s.text) for p, samples in enumerate(plain.samples) for s in samples]


async def test_seeded_prompts_stream_each_at_its_place():
    call = Call(((1,), (2,)), 2, 10, sampling={"seed": 5})
    assembly, samples = Assembly(call), {}
    async for chunk in SeparateCalls(ScriptedEngine(["ab", "c", "def", "g"]), each="prompt").stream(call):
        if isinstance(chunk, Chunk) and (sample := assembly.add(chunk)):
            samples[chunk.prompt, chunk.choice] = sample.text
    assert samples == {(0, 0): "ab", (0, 1): "c", (1, 0): "def", (1, 1): "g"}


async def test_a_stream_deals_the_tokens_of_all_samples_as_they_come_and_cancels_the_rest():
    inner = ScriptedEngine(["slow" * 500, "a"], step_seconds=0.005)
    call = Call(((1,),), 2, 5000)
    assembly = Assembly(call)
    async with aclosing(SeparateCalls(inner).stream(call)) as stream:
        async for chunk in stream:
            assert isinstance(chunk, Chunk)
            sample = assembly.add(chunk)
            if sample:
                assert (chunk.choice, sample.text) == (1, "a")
                break
    assert assembly.tokens == 2
    generated = inner.generated
    await asyncio.sleep(0.03)
    assert inner.generated == generated < 10


async def test_a_stream_brings_what_the_plain_call_does_with_its_usage_last():
    call = Call(((1,), (2,)), 2, 10, sampling={"seed": 5})
    inner = ScriptedEngine(["ab", "c", "def", "g"])
    assembly, samples, last = Assembly(call), {}, None
    async for last in SeparateCalls(inner).stream(call):
        if isinstance(last, Chunk) and (sample := assembly.add(last)):
            samples[last.prompt, last.choice] = sample.text
    assert samples == {(0, 0): "ab", (0, 1): "c", (1, 0): "def", (1, 1): "g"}
    assert last == Usage(prompt_tokens=2, completion_tokens=7)
    assert [single.sampling["seed"] for single in inner.calls] == [5, 6, 7, 8]


async def test_a_failed_stream_is_a_missing_sample_and_all_failed_is_a_failure():
    engine = SeparateCalls(ScriptedEngine(["a", EngineError("lost")]))
    *chunks, usage = [chunk async for chunk in engine.stream(Call(((1,),), 2, 10))]
    assert [chunk.text for chunk in chunks] == ["a"]
    assert usage == Usage(prompt_tokens=1)
    with pytest.raises(EngineError, match="no more replies"):
        await anext(engine.stream(Call(((1,),), 2, 10)))
