import asyncio
import json
from types import SimpleNamespace

import pytest
from aiohttp import web
from openai import AsyncOpenAI

from budgets.budget import Budget
from budgets.ledger import Ledger
from service.streams import chat_chunks, outcome_events
from tests.service.live import MESSAGES
from tests.stand_ins import MODEL, until


def events(text: str) -> list:
    """The JSON of each data event."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


async def test_a_stream_ends_with_the_answer_and_its_account(served):
    served.script(["1", "2", "2"])
    response = await served.chat(
        stream=True, scaling={"budget": {"samples": 3}, "answer": {"format": "number"}}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response.text)
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == "2"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["scaling"]["spent"]["samples"] == 3
    assert response.text.endswith("data: [DONE]\n\n")
    assert any(line.startswith(': {"event":"sample"') for line in response.text.splitlines())


async def test_a_single_sample_is_streamed_as_it_is_generated(served):
    served.script(["<think>so</think>fifteen"])
    chunks = events((await served.chat(stream=True, scaling={"budget": {"samples": 1}})).text)
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "so"
    assert "".join(d.get("content") or "" for d in deltas) == "fifteen"
    assert sum("content" in d for d in deltas) > 3
    assert served.completions[0]["stream"]


async def test_the_openai_client_reads_chat_stream_n_and_extra_body(served):
    served.script(["1", "2", "2", "1", "2", "2", "3"])
    async with AsyncOpenAI(base_url=served.url + "/v1", api_key="-") as client:
        scaling = {"strategy": "majority", "budget": {"samples": 3}, "answer": {"format": "number"}}
        reply = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, n=2, extra_body={"scaling": scaling}
        )
        assert [choice.message.content for choice in reply.choices] == ["2", "1"]
        assert reply.model_extra["scaling"]["answers"][0]["votes"] == 2
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"scaling": scaling | {"budget": {"samples": 4}}},
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "2"
    assert chunks[-1].usage.completion_tokens == 4


async def test_each_answer_of_a_stream_has_its_role_once(served):
    for script, samples, n in ((["1", "2", "2"], 3, 2), (["2"], 1, 1)):
        served.script(script)
        scaling = {"strategy": "majority", "budget": {"samples": samples}, "answer": {"format": "number"}}
        async with (
            AsyncOpenAI(base_url=served.url + "/v1", api_key="-") as client,
            client.chat.completions.stream(
                model=MODEL, messages=MESSAGES, n=n, extra_body={"scaling": scaling}
            ) as stream,
        ):
            reply = await stream.get_final_completion()
        assert [choice.message.role for choice in reply.choices] == ["assistant"] * n
        assert [choice.message.content for choice in reply.choices] == ["2", "1"][:n]


async def test_scale_streams_a_json_event_for_each_step(served):
    served.script(["no", "no", "7"])
    scaling = {
        "strategy": "repeated_sampling",
        "budget": {"samples": 8},
        "verifier": {"name": "exact", "reference": "7"},
        "answer": {"format": "number"},
    }
    got = events((await served.scale(stream=True, scaling=scaling)).text)
    kinds = [event.get("event") for event in got]
    assert kinds.count("sample") == 2
    assert kinds.index("score") > kinds.index("sample")
    assert got[-1]["object"] == "scaling.outcome"
    assert got[-1]["scaling"]["stopped_because"] == "accepted"


async def test_an_error_in_a_stream_has_the_shape_of_errors(served):
    async def down(_):
        return web.Response(status=500)

    served.stand_in.fault = down
    (_, error) = events((await served.chat(stream=True)).text)
    assert error["error"]["code"] == "engine_unavailable"


async def test_a_client_that_leaves_a_stream_stops_the_work(served):
    served.script(["x" * 4000] * 4, step_seconds=0.01)
    body = {"model": MODEL, "messages": MESSAGES, "stream": True, "scaling": {"budget": {"samples": 4}}}
    async with served.client.stream("POST", "/v1/chat/completions", json=body):
        await until(lambda: served.stand_in.running == 4)
    await until(lambda: served.stand_in.running == 0)


@pytest.mark.parametrize("encoded", [chat_chunks, outcome_events])
async def test_a_stream_that_is_closed_between_two_events_returns_once_its_run_has_ended(encoded):
    # Else what the run's open calls generated would be settled behind the account that is charged.
    ended = False

    async def run(listen, live):
        nonlocal ended
        listen({"event": "wave"})
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    plan = SimpleNamespace(ledger=Ledger(Budget(2)), tools=False, created=0, model=MODEL)
    given = (plan, run, "id", False) if encoded is chat_chunks else (run, "id")
    stream = encoded(*given)
    while b"wave" not in await anext(stream):
        pass
    await stream.aclose()
    assert ended
