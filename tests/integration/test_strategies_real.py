"""Every strategy over HTTP, on real vLLM servers: a generator, a process reward model, an embedding model."""

import httpx
import pytest
from openai import AsyncOpenAI

from strategies.registry import registry
from tests.integration.servers import gauge
from tests.service.live import listening
from tests.strategies.test_stepping import STEPWISE

STORY = [{"role": "user", "content": "Tell me a story of a farmer, three cows and a very long road. " * 6}]
BLOCK = 32
"""Tokens in a block of the CPU's KV cache, as the launcher sets it."""

NEVER = "☃☃☃"
"""A separator that does not come up: all steps are as long as they may be, and no path runs short of room alone."""


@pytest.fixture
async def client(tiny_vllm, process_reward_vllm, embedding_vllm):
    world = {
        "models": [{"name": "m", "urls": [tiny_vllm.url], "served_name": tiny_vllm.model}],
        "verifiers": [
            {
                "name": "prm",
                "kind": "process_reward",
                "url": process_reward_vllm.url,
                "model": process_reward_vllm.model,
            },
            {"name": "near", "kind": "embedding", "url": embedding_vllm.url, "model": embedding_vllm.model},
        ],
    }
    async with listening(world) as url, httpx.AsyncClient(base_url=url, timeout=120) as client:
        yield client


async def scale(client, strategy, budget, params=None, **body):
    """The outcome of a search, and how many tokens vLLM itself says that it generated for it."""
    scaling = {"strategy": strategy, "verifier": "prm", "budget": budget, "params": params or {}}
    asked = {"model": "m", "messages": STORY, "scaling": scaling, **body}
    reply = await client.post("/v1/scale", json=asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


def of(outcome, event):
    return [entry for entry in outcome["trace"] if entry["event"] == event]


@pytest.mark.parametrize("strategy", sorted(registry()))
@pytest.mark.parametrize("budget", [{"samples": 4, "tokens": 150}, {"samples": 3, "tokens": 2000}])
async def test_a_strategy_answers_and_never_exceeds_a_cap(client, tiny_vllm, strategy, budget):
    before = await gauge(tiny_vllm.url, "vllm:generation_tokens_total")
    params = {"step_tokens": 12} if strategy in dict(STEPWISE) else {}
    outcome = await scale(client, strategy, budget, params, max_tokens=60)
    generated = await gauge(tiny_vllm.url, "vllm:generation_tokens_total") - before
    spent = outcome["scaling"]["spent"]
    assert generated <= budget["tokens"]
    assert spent["tokens"] <= budget["tokens"]
    # This one cancels the samples that still run, and auto may choose it: what is on its way then is not seen.
    if outcome["scaling"]["strategy"] != "repeated_sampling":
        assert generated == spent["tokens"]
    assert spent["samples"] <= budget["samples"]
    assert outcome["candidates"][0]["text"]
    assert all(0 <= c["score"] <= 1 for c in outcome["candidates"] if c["score"] is not None)


@pytest.mark.parametrize(("strategy", "params"), STEPWISE, ids=[f"{n} {p}" for n, p in STEPWISE])
async def test_a_search_makes_one_engine_call_a_depth_and_meets_a_warm_prefix_cache(
    client, tiny_vllm, strategy, params
):
    name = "vllm:prefix_cache_hits_total"
    before = await gauge(tiny_vllm.url, name)
    outcome = await scale(
        client, strategy, {"samples": 8}, {**params, "step_tokens": 24, "separator": NEVER}, max_tokens=150
    )
    depths = len(of(outcome, "steps"))
    assert depths >= 4
    assert len(of(outcome, "sample")) == depths
    hits = await gauge(tiny_vllm.url, name) - before
    assert hits >= 0.8 * shareable(outcome)
    assert outcome["scaling"]["spent"]["verifier_tokens"] > 0


def shareable(outcome) -> int:
    """Tokens of all continued prefixes that stand in full blocks, but for each prefix's last token."""
    prompt = of(outcome, "sample")[0]["prompt_tokens"]
    lengths, finished = {0: prompt}, set()
    for event in of(outcome, "steps"):
        for node in event["nodes"]:
            lengths[node["node"]] = lengths[node["parent"]] + node["tokens"]
            finished |= {node["node"]} if node["finished"] else set()
    continued = [pair for event in of(outcome, "select") for pair in event["kept"] if pair[0] not in finished]
    return sum((lengths[node] - 1) // BLOCK * BLOCK * count for node, count in continued)


async def test_the_openai_client_searches_step_by_step_reproducibly(client):
    scaling = {"strategy": "particle_filtering", "verifier": "prm", "params": {"step_tokens": 16}}
    scaling |= {"budget": {"samples": 4}, "answer": {"format": "text"}}
    given = {
        "model": "m",
        "messages": STORY,
        "max_tokens": 60,
        "seed": 11,
        "extra_body": {"scaling": scaling},
    }
    async with AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="-") as openai:
        first = await openai.chat.completions.create(**given)
        again = await openai.chat.completions.create(**given)
        stream = await openai.chat.completions.create(**given, stream=True)
        streamed = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    account = first.model_extra["scaling"]
    assert account["estimates"]["depth"] >= 3
    assert first.choices[0].message.content == again.choices[0].message.content == streamed


async def test_steps_of_a_search_come_with_their_scores(client):
    outcome = await scale(client, "beam_search", {"samples": 4}, {"step_tokens": 16}, max_tokens=50)
    best = outcome["candidates"][0]
    assert len(best["steps"]) >= 3
    assert "".join(step["text"] for step in best["steps"]) == best["text"]
    assert sum(step["tokens"] for step in best["steps"]) == best["tokens"]
    assert best["steps"][-1]["score"] == best["score"]
    assert len(of(outcome, "chosen")) == 1
