"""The whole service on real vLLM servers, asked as users ask it."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI

from engines import guard
from service.settings import Settings
from tests.integration.servers import PYTHON, gauge, tiny_model
from tests.service.live import listening

SPIDER = [{"role": "user", "content": "How many legs does a spider have? Answer with a number."}]
"""Asked so at temperature 0.7, about half of the bundled model's samples are right."""

LONG = [{"role": "user", "content": "Tell me a story. " * 20}]
NUMBER = {"format": "number"}


def configured(server, **more):
    return {"models": [{"name": "m", "urls": [server.url], "served_name": server.model}]} | more


@pytest.fixture
async def bundled(bundled_vllm):
    async with (
        listening(configured(bundled_vllm)) as url,
        httpx.AsyncClient(base_url=url, timeout=120) as client,
    ):
        yield client


@pytest.fixture
async def tiny(tiny_vllm):
    async with listening(configured(tiny_vllm)) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def ask(client, messages=LONG, **body):
    return await client.post("/v1/chat/completions", json={"model": "m", "messages": messages} | body)


async def test_the_openai_client_gets_the_right_answer_from_the_real_model(bundled):
    scaling = {"strategy": "majority", "budget": {"samples": 12}, "answer": NUMBER}
    given = {"model": "m", "messages": SPIDER, "temperature": 0.7, "max_tokens": 40, "seed": 3}
    async with AsyncOpenAI(base_url=f"{bundled.base_url}/v1", api_key="-") as client:
        reply = await client.chat.completions.create(**given, n=2, extra_body={"scaling": scaling})
        stream = await client.chat.completions.create(**given, stream=True, extra_body={"scaling": scaling})
        streamed = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    account = reply.model_extra["scaling"]
    assert account["answers"][0]["answer"] == "8"
    assert account["answers"][0]["votes"] < 12
    assert account["spent"]["samples"] == 12
    assert account["spent"]["tokens"] == reply.usage.completion_tokens
    assert len(reply.choices) == 2
    assert streamed == reply.choices[0].message.content


@pytest.mark.parametrize("verifier", [None, "judge"])
async def test_best_of_n_scores_real_samples(bundled, verifier):
    scaling = {"strategy": "best_of_n", "budget": {"samples": 4, "tokens": 400}, "answer": NUMBER}
    if verifier:
        scaling["verifier"] = verifier
    reply = (await ask(bundled, SPIDER, max_tokens=30, scaling=scaling)).json()
    scores = [answer["score"] for answer in reply["scaling"]["answers"]]
    assert all(0 <= score <= 1 for score in scores)
    assert reply["scaling"]["verifier"] == (verifier or "self_certainty")
    assert (reply["scaling"]["spent"]["verifier_tokens"] > 0) == bool(verifier)
    assert reply["scaling"]["spent"]["tokens"] <= 400


async def test_a_schema_constrains_real_samples(bundled):
    schema = {"type": "object", "properties": {"legs": {"enum": [6, 8]}}, "required": ["legs"]}
    format = {
        "type": "json_schema",
        "json_schema": {"name": "legs", "schema": schema | {"additionalProperties": False}},
    }
    reply = (
        await ask(bundled, SPIDER, max_tokens=40, response_format=format, scaling={"budget": {"samples": 4}})
    ).json()
    assert json.loads(reply["choices"][0]["message"]["content"])["legs"] in (6, 8)


async def test_one_engine_call_shares_the_prompt_among_its_samples(tiny, tiny_vllm):
    queries = await gauge(tiny_vllm.url, "vllm:prefix_cache_queries_total")
    hits = await gauge(tiny_vllm.url, "vllm:prefix_cache_hits_total")
    reply = (await ask(tiny, max_tokens=4, scaling={"budget": {"samples": 8}})).json()
    queries = await gauge(tiny_vllm.url, "vllm:prefix_cache_queries_total") - queries
    hits = await gauge(tiny_vllm.url, "vllm:prefix_cache_hits_total") - hits
    assert hits / queries > 0.7
    again = (await ask(tiny, max_tokens=4, scaling={"budget": {"samples": 8}})).json()["scaling"]["spent"]
    assert reply["scaling"]["spent"]["tokens"] <= 32
    assert again["cached_tokens"] > again["prompt_tokens"] / 2


async def test_the_same_seed_draws_the_same_samples(tiny):
    scaling = {"budget": {"samples": 6, "tokens": 60}, "answer": {"format": "text"}}
    replies = [
        (
            await tiny.post(
                "/v1/scale", json={"model": "m", "messages": LONG, "seed": 11, "scaling": scaling}
            )
        ).json()
        for _ in range(2)
    ]
    first, second = [[candidate["text"] for candidate in reply["candidates"]] for reply in replies]
    assert first == second
    assert len(set(first)) > 1


async def test_cut_samples_go_on_where_they_were_cut(tiny):
    """Shares of 20 tokens, and a model that ends by chance: what short samples leave goes to the others."""
    scaling = {"budget": {"samples": 3, "tokens": 60}}
    reply = (
        await tiny.post("/v1/scale", json={"model": "m", "messages": LONG, "stop": "a", "scaling": scaling})
    ).json()
    assert (
        sum(candidate["tokens"] for candidate in reply["candidates"])
        == reply["scaling"]["spent"]["tokens"]
        <= 60
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_brings_the_engine_to_rest_within_a_second(tiny, tiny_vllm, stream):
    body = {
        "model": "m",
        "messages": LONG,
        "max_tokens": 1500,
        "stream": stream,
        "scaling": {"budget": {"samples": 8}},
    }
    asking = asyncio.create_task(tiny.post("/v1/chat/completions", json=body))
    async with asyncio.timeout(20):
        while await gauge(tiny_vllm.url, "vllm:num_requests_running") < 8:
            await asyncio.sleep(0.02)
    asking.cancel()
    async with asyncio.timeout(1.0):
        while await gauge(tiny_vllm.url, "vllm:num_requests_running") > 0:
            await asyncio.sleep(0.02)


async def test_a_deadline_stops_the_engine_and_says_so(tiny, tiny_vllm):
    response = await ask(tiny, max_tokens=1500, scaling={"budget": {"samples": 8, "seconds": 0.5}})
    assert response.status_code == 504
    async with asyncio.timeout(1.0):
        while await gauge(tiny_vllm.url, "vllm:num_requests_running") > 0:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("route", ["pooling", "classify"])
async def test_a_real_reward_model_chooses(tiny_vllm, reward_vllm, route):
    reward = {
        "name": "rm",
        "kind": "outcome_reward",
        "url": reward_vllm.url,
        "model": reward_vllm.model,
        "route": route,
    }
    scaling = {"strategy": "best_of_n", "verifier": "rm", "budget": {"samples": 5, "tokens": 100}}
    async with (
        listening(configured(tiny_vllm, verifiers=[reward])) as url,
        httpx.AsyncClient(timeout=60) as client,
    ):
        response = await client.post(
            f"{url}/v1/scale", json={"model": "m", "messages": LONG, "scaling": scaling}
        )
    reply = response.json()
    scores = [candidate["score"] for candidate in reply["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    assert reply["scaling"]["warnings"] == []
    assert reply["scaling"]["spent"]["verifier_tokens"] > 100


async def test_an_engine_killed_midway_gives_503_and_the_supervisor_has_it_back(tmp_path):
    """Aliquot starts this vLLM itself; its engine process is killed while it generates."""
    config = {"models": [{"name": "own", "path": str(tiny_model("generator")), "max_model_len": 2048}]}
    settings = Settings(engine_python=PYTHON, log_folder=tmp_path)
    async with listening(config, settings) as url, httpx.AsyncClient(base_url=url, timeout=120) as client:
        body = {"model": "own", "messages": LONG, "max_tokens": 1500, "scaling": {"budget": {"samples": 64}}}
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        async with asyncio.timeout(60):
            while await gauge(own_url(), "vllm:num_requests_running") == 0:
                await asyncio.sleep(0.05)
        os.kill(engine_core(), signal.SIGKILL)
        response = await asking
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "engine" in response.json()["error"]["message"]
        async with asyncio.timeout(240):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.5)
        body["max_tokens"] = 5
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    assert not own_processes()


def own_processes() -> set[int]:
    """Everything that the vLLM of the model `own` runs as: the group that its guard leads."""
    guards = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _serves_own(entry)]
    return set().union(*(guard.members(int(entry.name)) for entry in guards))


def own_url() -> str:
    """Where the vLLM of the model `own` listens."""
    lines = (
        entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit() and _serves_own(entry)
    )
    arguments = next(lines).read_bytes().split(b"\0")
    return f"http://127.0.0.1:{arguments[arguments.index(b'--port') + 1].decode()}"


def _serves_own(process: Path) -> bool:
    try:
        line = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"guard.py" in line and b"--served-model-name\0own\0" in line


def engine_core() -> int:
    """The process of the engine itself, by the title that vLLM gives it."""
    titled = [pid for pid in own_processes() if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(titled) == 1
    return titled[0]
