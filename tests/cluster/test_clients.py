"""What clients see through nginx: OpenAI's own, whole answers and streams."""

import asyncio
import time

import httpx
import openai
import pytest

from tests.cluster.asking import body, client

MESSAGES = [{"role": "user", "content": "Problem 7"}]


@pytest.fixture
def ai(house):
    return openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0)


def test_the_openai_client_gets_answers_through_nginx(ai):
    scaling = {"strategy": "majority", "budget": {"samples": 8}, "answer": {"format": "number"}}
    answer = ai.chat.completions.create(
        model="simulated", messages=MESSAGES, n=2, extra_body={"scaling": scaling}
    )
    assert len(answer.choices) == 2
    assert answer.model_extra["scaling"]["spent"]["samples"] == 8
    assert answer.usage.completion_tokens == answer.model_extra["scaling"]["spent"]["tokens"]
    assert "simulated" in [model.id for model in ai.models.list()]


def test_the_openai_client_streams_through_nginx(ai):
    scaling = {"budget": {"samples": 1}}
    stream = ai.chat.completions.create(
        model="simulated",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"scaling": scaling},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("[simulated]")
    assert chunks[-1].usage.completion_tokens > 10


def test_an_error_is_the_openai_clients_own_kind(ai):
    with pytest.raises(openai.NotFoundError) as missing:
        ai.chat.completions.create(model="no-such", messages=MESSAGES)
    assert missing.value.code == "model_not_found"


async def test_a_stream_is_not_held_back_by_nginx(house):
    for engine in house.engines:
        engine.fault(seconds=0.02)
    asked = body(9, budget={"samples": 1}) | {"stream": True}
    async with client(house.url) as http, http.stream("POST", "/v1/chat/completions", json=asked) as answer:
        lines = answer.aiter_lines()
        arrived = [time.monotonic() async for line in lines if line.startswith("data: {")]
    assert len(arrived) > 20
    assert arrived[-1] - arrived[0] > 0.3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("strategy", ["majority", "best_of_n", "particle_filtering", "efficient_tree_search"])
async def test_when_a_client_leaves_its_sequences_are_gone_within_a_second(house, strategy, stream):
    for engine in house.engines:
        engine.fault(seconds=0.05)
    verifier = {"best_of_n": "orm", "particle_filtering": "prm", "efficient_tree_search": "prm"}.get(strategy)
    asked = body(11, strategy=strategy, verifier=verifier) | {"stream": stream}
    async with client(house.url) as http:
        asking = asyncio.create_task(http.post("/v1/scale", json=asked))
        async with asyncio.timeout(10):
            while not house.running():
                await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    house.quiet(1.0)


async def test_the_requests_id_goes_through_nginx_both_ways(house):
    async with client(house.url) as http:
        answer = await http.post("/v1/scale", json=body(), headers={"X-Request-Id": "mine-1"})
        other = await http.post("/v1/scale", json=body())
    assert answer.headers["x-request-id"] == "mine-1"
    assert other.headers["x-request-id"]


def test_what_operators_alone_should_see_is_not_shown_outside(house):
    assert httpx.get(f"{house.url}/metrics").status_code in (403, 404)
    assert httpx.get(f"{house.url}/v1/admin/keys").status_code in (403, 404)
    assert httpx.get(f"{house.services[0].url}/metrics").status_code == 200
