from contextlib import aclosing

import pytest

from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineError, Sample, Usage
from engines.scripted import ScriptedEngine


def call(n: int = 2, max_tokens: int = 10, **more) -> Call:
    return Call(((1,),), n, max_tokens, **more)


async def test_replies_are_drawn_in_order_and_calls_are_kept():
    engine = ScriptedEngine(["a", "b", "c"])
    assert [s.text for s in (await engine.sample(call())).samples[0]] == ["a", "b"]
    assert [s.text for s in (await engine.sample(call(1))).samples[0]] == ["c"]
    assert [c.n for c in engine.calls] == [2, 1]
    with pytest.raises(EngineError, match="no more replies"):
        await engine.sample(call(1))


async def test_a_function_of_the_prompt_answers_each_prompt_its_own():
    engine = ScriptedEngine(lambda prompt: [prompt + "!", prompt + "?"])
    prompt = await engine.tokenize([{"role": "user", "content": "hi"}])
    generation = await engine.sample(Call((prompt, (97,)), 2, 10))
    assert [[s.text for s in samples] for samples in generation.samples] == [["hi!", "hi?"], ["a!", "a?"]]


async def test_replies_end_at_stop_strings_and_lengths():
    engine = ScriptedEngine(["one\n\ntwo", "a long text"])
    one, long = (await engine.sample(call(max_tokens=6, stop=("\n\n",)))).samples[0]
    assert (one.text, one.finish_reason) == ("one", "stop")
    assert (long.text, long.finish_reason, len(long.tokens)) == ("a long", "length", 6)


async def test_a_stream_deals_tokens_in_turn_and_assembles_to_the_same_samples():
    asked = call(3)
    plain = (await ScriptedEngine(["ab", "", "cde"]).sample(asked)).samples[0]
    engine = ScriptedEngine(["ab", "", "cde"])
    assembly, finished, order = Assembly(asked), {}, []
    async with aclosing(engine.stream(asked)) as stream:
        async for chunk in stream:
            if isinstance(chunk, Chunk):
                order.append(chunk.choice)
                sample = assembly.add(chunk)
                if sample:
                    finished[chunk.choice] = sample
    assert order == [0, 1, 2, 0, 2, 2]
    assert tuple(finished[i] for i in range(3)) == plain
    assert assembly.tokens == engine.generated == 5


async def test_a_failed_sample_is_missing_and_a_failed_call_fails():
    engine = ScriptedEngine(["a", EngineError("lost")])
    assert [s.text for s in (await engine.sample(call())).samples[0]] == ["a"]
    with pytest.raises(EngineError, match="gone"):
        await ScriptedEngine([EngineError("gone")] * 2).sample(call())


async def test_usage_counts_the_tokens_of_its_call_alone():
    engine = ScriptedEngine(["ab", "c", "def"])
    assert (await engine.sample(call())).usage == Usage(1, 0, 3)
    *_, usage = [chunk async for chunk in engine.stream(call(1))]
    assert usage == Usage(1, 0, 3)


def test_a_sample_continued_by_nothing_keeps_its_log_probability():
    begun = Sample("a", (97,), "length", -1.0)
    assert begun.continued(Sample("", (), "stop")) == Sample("a", (97,), "stop", -1.0)
    assert begun.continued(Sample("b", (98,), "stop")).logprob is None
    assert begun.continued(Sample("b", (98,), "stop", -0.5)).logprob == -1.5
