import asyncio
from dataclasses import replace

import httpx
import pytest

from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineRefused, Generation
from engines.simulated.engine import SimulatedEngine
from engines.simulated.problems import SimulatedSettings
from engines.simulated.words import encode, render
from engines.simulated.world import SimulatedWorld
from engines.vllm import VllmEngine
from tests.engines.simulated.serving import serving_world
from tests.stand_ins import until

WORLD = SimulatedWorld(SimulatedSettings(context=4096))
MESSAGES = [{"role": "user", "content": WORLD.question(4)}]
PROMPT = render(MESSAGES)


@pytest.fixture
async def server():
    async with serving_world(SimulatedEngine(WORLD)) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


@pytest.fixture
async def engine(server):
    engine = VllmEngine("any name", str(server.base_url), served_name="simulated")
    yield engine
    await engine.close()


def call(**changes) -> Call:
    return Call(**{"prompts": (PROMPT, PROMPT[:5]), "n": 3, "max_tokens": 500} | changes)


CALLS = {
    "whole": call(sampling={"seed": 5}),
    "steps": call(sampling={"seed": 5}, stop=("\n\n",)),
    "cut": call(sampling={"seed": 5, "temperature": 0.8}, max_tokens=9),
    "other stops": call(sampling={"seed": 6}, stop=("we", "this gives")),
    "logprobs": call(sampling={"seed": 7}, logprobs=0),
    "greedy": call(n=1, sampling={"temperature": 0}),
    "one prompt": call(prompts=(PROMPT,), n=1, sampling={"seed": 1}),
}


async def expected_over_http(asked: Call) -> Generation:
    """What the engine in process says; our client takes no cached tokens for calls of several prompts."""
    generation = await SimulatedEngine(WORLD).sample(asked)
    if len(asked.prompts) == 1:
        return generation
    return replace(generation, usage=replace(generation.usage, cached_tokens=None))


@pytest.mark.parametrize("asked", CALLS.values(), ids=CALLS)
async def test_samples_over_http_are_those_in_process(engine, asked):
    assert await engine.context_length() == 4096
    assert await engine.tokenize(MESSAGES) == PROMPT
    generation = await engine.sample(asked)
    assert generation == await expected_over_http(asked)


@pytest.mark.parametrize("asked", CALLS.values(), ids=CALLS)
async def test_a_stream_over_http_brings_what_the_plain_call_does(engine, asked):
    plain = await expected_over_http(asked)
    assembly, whole = Assembly(asked), {}
    async for chunk in engine.stream(asked):
        if isinstance(chunk, Chunk):
            sample = assembly.add(chunk)
            if sample:
                whole[chunk.prompt, chunk.choice] = sample
        else:
            assert chunk == plain.usage
    for (p, i), sample in whole.items():
        expected = plain.samples[p][i]
        assert (sample.text, sample.tokens) == (expected.text, expected.tokens)
        assert (sample.finish_reason, sample.stopped_at) == (expected.finish_reason, expected.stopped_at)
        assert sample.logprob == (None if asked.logprobs is None else pytest.approx(expected.logprob))
    assert len(whole) == len(asked.prompts) * asked.n


async def test_a_step_goes_on_from_its_ids_and_meets_a_warm_cache(engine):
    tokens, steps = PROMPT, 0
    while True:
        generation = await engine.sample(
            call(prompts=(tokens,), n=1, stop=("\n\n",), sampling={"seed": steps})
        )
        if steps > 1:
            assert generation.usage.cached_tokens == (len(tokens) - 1) // 16 * 16
        tokens += generation.samples[0][0].tokens
        steps += 1
        if generation.samples[0][0].stopped_at is None:
            break
    assert steps == WORLD.problem(4).steps


async def test_every_response_says_that_it_is_simulated(server):
    body = {"model": "simulated", "prompt": "Problem 1", "max_tokens": 4}
    paths = ("/health", "/v1/models", "/version", "/load", "/metrics", "/nowhere")
    answers = [await server.get(path) for path in paths]
    answers.append(await server.post("/v1/completions", json=body))
    answers.append(await server.post("/v1/completions", json=body | {"stream": True}))
    answers.append(await server.post("/v1/completions", json={}))
    assert [answer.headers["x-simulated"] for answer in answers] == ["true"] * 9
    assert answers[6].json()["system_fingerprint"] == answers[6].json()["model"] == "simulated"
    assert answers[6].json()["choices"][0]["text"].startswith("[simulated]")
    assert '"system_fingerprint":"simulated"' in answers[7].text
    assert {model["owned_by"] for model in answers[1].json()["data"]} == {"simulated"}
    assert answers[2].json()["version"].endswith("simulated")


async def test_prompts_are_texts_or_ids_and_choices_come_prompt_by_prompt(server):
    texts = ["Problem 1", "Problem 2"]
    body = {"model": "simulated", "n": 2, "seed": 1, "max_tokens": 30, "return_token_ids": True}
    one = (await server.post("/v1/completions", json=body | {"prompt": texts})).json()
    ids = [encode(text) for text in texts]
    other = (await server.post("/v1/completions", json=body | {"prompt": ids})).json()
    assert one["choices"] == other["choices"]
    assert [choice["index"] for choice in one["choices"]] == [0, 1, 2, 3]
    assert [tuple(choice["prompt_token_ids"]) for choice in one["choices"]] == [
        ids[0],
        ids[0],
        ids[1],
        ids[1],
    ]
    single = (await server.post("/v1/completions", json=body | {"prompt": texts[0], "n": 1})).json()
    assert single["choices"][0]["text"] == one["choices"][0]["text"]
    assert single["usage"]["total_tokens"] == len(ids[0]) + 30


async def test_16_tokens_and_no_ids_are_the_default(server):
    answer = await server.post("/v1/completions", json={"model": "simulated", "prompt": "Problem 1"})
    assert answer.json()["usage"]["completion_tokens"] == 16
    assert "token_ids" not in answer.json()["choices"][0]
    null = {"model": "simulated", "prompt": "Problem 1", "max_tokens": None}
    whole = (await server.post("/v1/completions", json=null)).json()["choices"][0]
    assert whole["finish_reason"] == "stop"


async def test_log_probabilities_have_vllms_shape(server):
    body = {"model": "simulated", "prompt": "Problem 1", "max_tokens": 40, "logprobs": 1, "seed": 2}
    (choice,) = (await server.post("/v1/completions", json=body)).json()["choices"]
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == choice["text"]
    assert [
        choice["text"][at:].startswith(word)
        for at, word in zip(told["text_offset"], told["tokens"], strict=True)
    ]
    assert [[*top.values()] for top in told["top_logprobs"]] == [[p] for p in told["token_logprobs"]]
    streamed = (await server.post("/v1/completions", json=body | {"stream": True})).text
    assert streamed.count("text_offset") > 1


async def test_text_and_ids_are_turned_into_each_other(server):
    tokenized = (await server.post("/tokenize", json={"model": "simulated", "prompt": "Step 1: é"})).json()
    assert tokenized["tokens"] == list(encode("Step 1: é"))
    assert (tokenized["count"], tokenized["max_model_len"]) == (len(tokenized["tokens"]), 4096)
    body = {"model": "simulated-prm", "tokens": tokenized["tokens"]}
    assert (await server.post("/detokenize", json=body)).json() == {"prompt": "Step 1: é"}
    whole = [*MESSAGES, {"role": "assistant", "content": "5"}]
    asked = {"model": "simulated", "messages": whole, "add_generation_prompt": False}
    rendered = (await server.post("/tokenize", json=asked)).json()["tokens"]
    assert rendered == list(render(whole, generation=False))


COMPLETIONS = "/v1/completions"
REFUSED = {
    "no json": (COMPLETIONS, b"{", 400, None),
    "not utf-8": (COMPLETIONS, b'"\xff"', 400, None),
    "no model": (COMPLETIONS, {"prompt": "x"}, 400, "model"),
    "unknown model": (COMPLETIONS, {"model": "gpt", "prompt": "x"}, 404, "model"),
    "a reward asked to write": (COMPLETIONS, {"model": "simulated-prm", "prompt": "x"}, 400, "model"),
    "no prompt": (COMPLETIONS, {"prompt": []}, 400, "prompt"),
    "an empty prompt": (COMPLETIONS, {"prompt": ""}, 400, "prompt"),
    "mixed prompts": (COMPLETIONS, {"prompt": ["x", 1]}, 400, "prompt"),
    "no ids": (COMPLETIONS, {"prompt": [[True]]}, 400, "prompt"),
    "an id out of vocabulary": (COMPLETIONS, {"prompt": [[5, 10**9]]}, 400, "prompt"),
    "a negative id": (COMPLETIONS, {"prompt": [-1]}, 400, "prompt"),
    "too long": (COMPLETIONS, {"prompt": "x" * 5000}, 400, "input_tokens"),
    "far too long": (COMPLETIONS, {"prompt": "x" * 100_000}, 400, "input_tokens"),
    "n of 0": (COMPLETIONS, {"prompt": "x", "n": 0}, 400, "n"),
    "too many sequences": (COMPLETIONS, {"prompt": ["x"] * 10, "n": 16_384}, 400, "n"),
    "n is a word": (COMPLETIONS, {"prompt": "x", "n": "two"}, 400, "n"),
    "no tokens": (COMPLETIONS, {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
    "too many logprobs": (COMPLETIONS, {"prompt": "x", "logprobs": 21}, 400, "logprobs"),
    "an empty stop": (COMPLETIONS, {"prompt": "x", "stop": [""]}, 400, "stop"),
    "greedy twice": (COMPLETIONS, {"prompt": "x", "temperature": 0, "n": 2}, 400, None),
    "greedy twice, streamed": (
        COMPLETIONS,
        {"prompt": "x", "temperature": 0, "n": 2, "stream": True},
        400,
        None,
    ),
    "a grammar": (COMPLETIONS, {"prompt": "x", "structured_outputs": {"regex": "a"}}, 400, None),
    "nothing to tokenize": ("/tokenize", {}, 400, "prompt"),
    "an empty conversation": ("/tokenize", {"messages": []}, 400, "messages"),
    "a message without a role": ("/tokenize", {"messages": [{"content": "x"}]}, 400, "role"),
    "ids out of vocabulary": ("/detokenize", {"tokens": [10**6]}, 400, "tokens"),
    "a model that does not pool": ("/pooling", {"input": "x"}, 400, "model"),
    "nothing to pool": ("/pooling", {"model": "simulated-prm"}, 400, "input"),
    "a text too long": ("/pooling", {"model": "simulated-prm", "input": "x" * 5000}, 400, "input_tokens"),
    "steps cannot be classified": ("/classify", {"model": "simulated-prm", "input": "x"}, 400, "model"),
    "a model that does not embed": ("/v1/embeddings", {"input": "x"}, 400, "model"),
    "nothing to embed": ("/v1/embeddings", {"model": "simulated-embedding"}, 400, "input"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_done_is_refused_in_vllms_shape(server, name):
    path, body, status, param = REFUSED[name]
    if isinstance(body, dict):
        body = body if name == "no model" else {"model": "simulated"} | body
        answer = await server.post(path, json=body)
    else:
        answer = await server.post(path, content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (status, param)
    assert error["type"] == ("NotFoundError" if status == 404 else "BadRequestError")
    assert error["message"]


async def test_refusals_reach_a_client_as_what_they_are(engine):
    with pytest.raises(EngineRefused, match="n must be 1 when using greedy sampling"):
        await engine.sample(call(sampling={"temperature": 0}))


async def test_metrics_count_what_the_prefix_cache_held(server, engine):
    await engine.sample(call(prompts=(PROMPT,), n=4))
    metrics = (await server.get("/metrics")).text
    full = (len(PROMPT) - 1) // 16 * 16
    label = '{engine="0",model_name="simulated"}'
    assert f"vllm:prefix_cache_queries_total{label} {4 * len(PROMPT)}.0\n" in metrics
    assert f"vllm:prefix_cache_hits_total{label} {3 * full}.0\n" in metrics
    assert f"vllm:num_requests_running{label} 0.0\n" in metrics


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_ends_its_samples(streamed):
    async with serving_world(SimulatedEngine(WORLD, seconds_per_step=0.05)) as url:
        engine = VllmEngine("simulated", url)
        async with httpx.AsyncClient(base_url=url) as client:

            async def generate() -> None:
                if streamed:
                    async for _ in engine.stream(call()):
                        pass
                else:
                    await engine.sample(call())

            async def running(count: int) -> None:
                async with asyncio.timeout(5):
                    while (await client.get("/load")).json()["server_load"] != count:
                        await asyncio.sleep(0.01)

            task = asyncio.create_task(generate())
            await running(6)
            task.cancel()
            await running(0)
            await until(task.done)
        await engine.close()


async def test_embeddings_are_those_of_the_world(server):
    texts = ["Step 1: a, b, we get 17.", "x"]
    body = {"model": "simulated-embedding", "input": texts}
    data = (await server.post("/v1/embeddings", json=body)).json()["data"]
    assert [tuple(item["embedding"]) for item in data] == [WORLD.embedding(text) for text in texts]
    ids = {"model": "simulated-embedding", "input": [encode(text) for text in texts]}
    assert (await server.post("/v1/embeddings", json=ids)).json()["data"] == data
    long = {"model": "simulated-embedding", "input": "x" * 10_000}
    assert (await server.post("/v1/embeddings", json=long)).status_code == 200


async def test_a_raw_reward_is_the_logit_of_the_activated_one(server):
    text = "Problem 4 [simulated] So it is, the answer is 5."
    body = {"model": "simulated-orm", "input": text}
    (activated,) = (await server.post("/pooling", json=body)).json()["data"][0]["data"]
    (raw,) = (await server.post("/pooling", json=body | {"use_activation": False})).json()["data"][0]["data"]
    assert 1 / (1 + 2.718281828459045**-raw) == pytest.approx(activated)
