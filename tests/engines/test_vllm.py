import asyncio
import json
from contextlib import aclosing

import pytest
from aiohttp import web

from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineGarbage, EngineRefused, EngineUnavailable, Usage
from engines.scripted import ScriptedEngine
from engines.vllm import VllmEngine
from tests.stand_ins import MODEL, StandInVllm, serving, until


@pytest.fixture
async def stand_in():
    server = StandInVllm(ScriptedEngine(["one", "two", "three", "four", "five", "six"] * 5))
    async with serving(server.app()) as url:
        server.url = url
        yield server


@pytest.fixture
async def engine(stand_in):
    engine = VllmEngine("m", stand_in.url, served_name=MODEL)
    yield engine
    await engine.close()


def call(**changes) -> Call:
    return Call(**{"prompts": ((1, 2), (3,)), "n": 2, "max_tokens": 10} | changes)


async def test_a_call_is_one_request_with_token_ids_in_and_out(engine, stand_in):
    generation = await engine.sample(call(sampling={"temperature": 0.5}, stop=("x",)))
    assert [[s.text for s in samples] for samples in generation.samples] == [
        ["one", "two"],
        ["three", "four"],
    ]
    assert generation.samples[0][0].tokens == tuple(map(ord, "one"))
    assert generation.usage == Usage(prompt_tokens=3, completion_tokens=15)
    ((path, body),) = stand_in.requests
    assert path == "/v1/completions"
    assert body == {
        "model": MODEL,
        "prompt": [[1, 2], [3]],
        "n": 2,
        "max_tokens": 10,
        "return_token_ids": True,
        "temperature": 0.5,
        "stop": ["x"],
    }


async def test_a_stream_brings_what_the_plain_call_does(engine):
    chunks: dict = {}
    async with aclosing(engine.stream(call())) as stream:
        async for chunk in stream:
            if isinstance(chunk, Chunk):
                chunks.setdefault((chunk.prompt, chunk.choice), []).append(chunk)
            else:
                assert chunk == Usage(3, None, 15)
    assert {place: "".join(c.text for c in got) for place, got in chunks.items()} == {
        (0, 0): "one",
        (0, 1): "two",
        (1, 0): "three",
        (1, 1): "four",
    }
    assert all(got[-1].finish_reason == "stop" for got in chunks.values())


async def test_logprobs_are_summed_where_asked_for(stand_in, engine):
    generation = await engine.sample(call(logprobs=0))
    assert generation.samples[0][0].logprob == 0.0
    assert (await engine.sample(call())).samples[0][0].logprob is None


@pytest.mark.parametrize(
    "logprobs", [None, {"token_logprobs": []}, {"token_logprobs": [-1.0]}, {"token_logprobs": [None, -1.0]}]
)
async def test_logprobs_that_the_engine_leaves_out_are_unknown_and_not_zero(engine, stand_in, logprobs):
    choice = {"index": 0, "text": "ab", "token_ids": [97, 98], "finish_reason": "stop", "logprobs": logprobs}
    stand_in.fault = answers(choices=[choice])
    asked = call(n=1, logprobs=0)
    assert (await engine.sample(asked)).samples[0][0].logprob is None

    async def streamed(request):
        response = web.StreamResponse()
        await response.prepare(request)
        known = {"index": 0, "text": "a", "token_ids": [97], "logprobs": {"token_logprobs": [-1.0]}}
        for part in (known, choice):
            await response.write(f"data: {json.dumps({'choices': [part]})}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    stand_in.fault = streamed
    assembly = Assembly(asked)
    async with aclosing(engine.stream(asked)) as chunks:
        samples = [assembly.add(chunk) async for chunk in chunks if isinstance(chunk, Chunk)]
    assert samples[-1] is not None
    assert (samples[-1].text, samples[-1].logprob) == ("aab", None)


@pytest.mark.parametrize(("status", "began"), [(500, True), (502, True), (503, False), (429, False)])
async def test_a_server_that_turned_the_call_away_generated_nothing(engine, stand_in, status, began):
    stand_in.fault = answers(status)
    with pytest.raises(EngineUnavailable) as failure:
        await engine.sample(call())
    assert failure.value.began is began


async def test_a_negative_count_is_garbage(engine, stand_in):
    stand_in.fault = answers(choices=[], usage={"prompt_tokens": 3, "completion_tokens": -1})
    with pytest.raises(EngineGarbage):
        await engine.sample(call())


async def test_the_context_length_is_that_of_the_served_name(engine, stand_in):
    assert await engine.context_length() == 32_768
    other = VllmEngine("m", stand_in.url)
    with pytest.raises(EngineGarbage, match="serves stand-in, not m"):
        await other.context_length()
    await other.close()


async def test_cancelling_a_call_closes_its_connection(stand_in, engine):
    stand_in.engine = ScriptedEngine(["x" * 1000] * 4, step_seconds=0.05)
    task = asyncio.create_task(engine.sample(call(max_tokens=1000)))
    await until(lambda: stand_in.running == 4)
    task.cancel()
    await until(lambda: stand_in.running == 0)


async def test_leaving_a_stream_closes_its_connection(stand_in, engine):
    stand_in.engine = ScriptedEngine(["x" * 1000] * 4, step_seconds=0.01)
    async with aclosing(engine.stream(call(max_tokens=1000))) as stream:
        async for _ in stream:
            break
    await until(lambda: stand_in.running == 0)


async def test_an_engine_that_is_not_there_is_unavailable_and_began_nothing():
    engine = VllmEngine("m", "http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable) as failure:
        await engine.sample(call())
    assert not failure.value.began
    assert not await engine.ready()
    await engine.close()


async def _text(_, text="not json"):
    return web.Response(text=text)


async def _half(request):
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    request.transport.close()
    return response


def answers(status=200, **body):
    async def fault(_):
        return web.json_response(body, status=status)

    return fault


FAULTS = {
    "no json": (_text, EngineGarbage),
    "another shape": (answers(choices="many"), EngineGarbage),
    "no token ids": (answers(choices=[{"index": 0, "text": "a", "finish_reason": "stop"}]), EngineGarbage),
    "a choice nobody asked for": (answers(choices=[{"index": 9, "finish_reason": "stop"}]), EngineGarbage),
    "a negative choice": (answers(choices=[{"index": -1, "finish_reason": "stop"}]), EngineGarbage),
    "too many tokens": (
        answers(choices=[{"index": 0, "finish_reason": "length", "token_ids": [1] * 11}]),
        EngineGarbage,
    ),
    "a server error": (answers(500, error={"message": "secret path /root"}), EngineUnavailable),
    "too many requests": (answers(429), EngineUnavailable),
    "a refusal": (answers(400, error={"message": "n must be 1"}), EngineRefused),
    "half an answer": (_half, EngineUnavailable),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_answer_is_told_by_its_kind(engine, stand_in, fault):
    stand_in.fault, kind = FAULTS[fault]
    with pytest.raises(kind) as failure:
        await engine.sample(call())
    assert "secret" not in str(failure.value)


async def test_a_stream_that_ends_early_is_no_end(engine, stand_in):
    async def cut(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'data: {"choices": [{"index": 0, "text": "a", "token_ids": [97]}]}\n\n')
        return response

    stand_in.fault = cut
    stream = engine.stream(call())
    assert isinstance(await anext(stream), Chunk)
    with pytest.raises(EngineUnavailable, match="before its end"):
        await anext(stream)


async def test_fewer_choices_than_asked_are_what_there_is(engine, stand_in):
    stand_in.fault = answers(choices=[{"index": 3, "text": "a", "token_ids": [97], "finish_reason": "stop"}])
    generation = await engine.sample(call())
    assert [len(samples) for samples in generation.samples] == [0, 1]
