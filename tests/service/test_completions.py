import json

import pytest
from openai import AsyncOpenAI

from engines.base import EngineError
from service.openapi import Pages
from service.reply_schemas import ChatCompletion, Model, ScalingOutcome
from service.schemas import ChatRequest
from service.settings import WorldConfig
from tests.service.live import live

MAJORITY = {"strategy": "majority", "budget": {"samples": 4}, "answer": {"format": "number"}}


UNPRICED = {"eflops": None, "usd": None}


async def test_a_prompt_and_a_budget_in_the_best_answer_out(served):
    served.script(["15", "14", "It is 15.", "15"])
    response = await served.chat(scaling=MAJORITY)
    assert response.status_code == 200
    reply = response.json()
    ChatCompletion.model_validate(reply)
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "15"}
    assert reply["scaling"]["answers"][0] == {"answer": "15", "votes": 3, "score": None}
    assert reply["scaling"]["chosen_by"] == "request"
    assert reply["scaling"]["stopped_because"] == "completed"
    assert len(served.completions) == 1
    assert served.completions[0]["n"] == 4


async def test_usage_counts_every_token_and_the_prompt_once(served):
    served.script(["15", "14", "155", "15"])
    reply = (await served.chat(scaling=MAJORITY)).json()
    prompt = len("What is 7 + 8?")
    assert reply["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 9,
        "total_tokens": prompt + 9,
        "prompt_tokens_details": {"cached_tokens": prompt // 2},
    }
    spent = reply["scaling"]["spent"]
    assert (spent["samples"], spent["tokens"], spent["cached_tokens"]) == (4, 9, prompt // 2)


async def test_headers_name_the_strategy_the_tokens_and_the_request(served):
    served.script(["15"] * 8)
    response = await served.client.post(
        "/v1/chat/completions",
        json={"model": "stand-in", "messages": [{"role": "user", "content": "hi"}], "scaling": MAJORITY},
        headers={"X-Request-Id": "mine-1"},
    )
    assert response.headers["x-aliquot-strategy"] == "majority"
    assert response.headers["x-aliquot-spent-tokens"] == "8"
    assert response.headers["x-request-id"] == "mine-1"
    unusable = await served.client.get("/healthz", headers={"X-Request-Id": "a b"})
    assert unusable.headers["x-request-id"].startswith("req_")


async def test_without_scaling_the_configured_default_applies():
    defaults = {"strategy": "best_of_majority", "budget": {"samples": 3}}
    async with live(["a", "b", "b"], defaults=defaults) as served:
        scaling = (await served.chat()).json()["scaling"]
    assert (scaling["strategy"], scaling["chosen_by"]) == ("best_of_majority", "default")
    assert scaling["params"] == {"alpha": 0.1}
    assert scaling["budget"]["samples"] == 3
    assert scaling["verifier"] == "self_certainty"


async def test_effort_maps_to_a_configured_budget(served):
    served.script(["a"] * 2)
    scaling = (await served.chat(reasoning_effort="low")).json()["scaling"]
    assert scaling["chosen_by"] == "effort"
    assert scaling["spent"]["samples"] == 2


async def test_scaling_can_come_in_a_header(served):
    served.script(["7"] * 3)
    header = {"X-Aliquot-Scaling": json.dumps({"strategy": "majority", "budget": {"samples": 3}})}
    body = {"model": "stand-in", "messages": [{"role": "user", "content": "hi"}]}
    response = await served.client.post("/v1/chat/completions", json=body, headers=header)
    assert response.json()["scaling"]["spent"]["samples"] == 3


async def test_n_answers_are_the_best_and_differ(served):
    served.script(["1", "2", "2", "3"])
    reply = (await served.chat(n=3, scaling=MAJORITY)).json()
    assert [c["message"]["content"] for c in reply["choices"]] == ["2", "1", "3"]
    assert [c["index"] for c in reply["choices"]] == [0, 1, 2]


async def test_sampling_parameters_reach_the_engine_as_given(served):
    served.script(["x"] * 4)
    given = {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.05,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "repetition_penalty": 1.1,
        "logit_bias": {"5": -3},
        "thinking_token_budget": 64,
        "user": "u-1",
    }
    await served.chat(**given, max_tokens=33, stop=["\n", "END"], seed=5, scaling=MAJORITY)
    (body,) = served.completions
    assert {name: body[name] for name in given} == given
    assert body["max_tokens"] == 33
    assert body["stop"] == ["\n", "END"]
    assert isinstance(body["seed"], int)


async def test_max_completion_tokens_is_max_tokens(served):
    served.script(["x" * 50])
    reply = (await served.chat(max_completion_tokens=7, scaling={"budget": {"samples": 1}})).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 7


async def test_response_format_constrains_the_samples(served):
    served.script(['{"a": 1}'] * 2)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    await served.chat(response_format=format, scaling={"budget": {"samples": 2}})
    assert served.completions[0]["structured_outputs"] == {"json": schema}
    served.script(["{}"])
    await served.chat(response_format={"type": "json_object"}, scaling={"budget": {"samples": 1}})
    assert served.completions[1]["structured_outputs"] == {"json_object": True}


async def test_reasoning_comes_back_apart_and_has_no_vote(served):
    served.script(["<think>maybe 9</think>15", "<think>or 9</think>15", "9"])
    reply = (await served.chat(scaling={**MAJORITY, "budget": {"samples": 3}})).json()
    message = reply["choices"][0]["message"]
    assert message["content"] == "15"
    assert message["reasoning_content"] == "maybe 9"


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


async def test_tools_are_voted_on_by_name_then_arguments(served):
    def call(name, **arguments):
        return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"

    served.script([call("sub", a=1), call("add", b=8, a=7), call("add", a=1, b=1), call("add", a=7, b=8)])
    reply = (
        await served.chat(tools=TOOLS, scaling={"budget": {"samples": 4}, "strategy": "majority"})
    ).json()
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (tool_call,) = choice["message"]["tool_calls"]
    assert tool_call["function"]["name"] == "add"
    assert json.loads(tool_call["function"]["arguments"]) == {"a": 7, "b": 8}
    tokenized = next(body for path, body in served.stand_in.requests if path == "/tokenize")
    assert tokenized["tools"][0]["function"]["name"] == "add"


async def test_excluded_fields_have_no_vote(served):
    def call(**arguments):
        return json.dumps({"name": "add", "arguments": arguments})

    served.script([call(a=5, id=1), call(a=7, id=2), call(a=7, id=3)])
    scaling = {"budget": {"samples": 3}, "answer": {"format": "tool_call", "exclude": ["id"]}}
    reply = (await served.chat(tools=TOOLS, scaling=scaling)).json()
    assert reply["scaling"]["answers"][0]["votes"] == 2


async def test_a_required_tool_constrains_the_samples(served):
    served.script(['{"name": "add", "arguments": {}}'])
    reply = await served.chat(tools=TOOLS, tool_choice="required", scaling={"budget": {"samples": 1}})
    assert reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "add"
    assert served.completions[0]["structured_outputs"]["json"]["properties"]["name"] == {"const": "add"}


async def test_temperature_zero_draws_one_sample_and_says_so(served):
    served.script(["x"])
    reply = (await served.chat(temperature=0, scaling=MAJORITY)).json()
    assert reply["scaling"]["spent"]["samples"] == 1
    assert "temperature 0" in reply["scaling"]["warnings"][0].lower()


async def test_scale_answers_the_whole_outcome(served):
    served.script(["1", "2", "2"])
    reply = (await served.scale(scaling={**MAJORITY, "budget": {"samples": 3}})).json()
    ScalingOutcome.model_validate(reply)
    assert [(c["text"], c["votes"]) for c in reply["candidates"]] == [("2", 2), ("1", 1), ("2", 2)]
    assert [event["event"] for event in reply["trace"]] == ["sample", "votes"]
    assert reply["candidates"][0]["steps"] == [{"text": "2", "tokens": 1, "score": None}]


@pytest.mark.parametrize(
    "scaling",
    [
        {"strategy": "best_of_n", "verifier": {"name": "exact", "reference": "15"}},
        {"strategy": "repeated_sampling", "verifier": {"name": "exact", "reference": "15"}},
    ],
)
async def test_a_reference_answer_finds_the_right_sample(served, scaling):
    served.script(["14", "13", "15", "16"])
    answer = {"format": "number"}
    reply = (await served.chat(scaling={**scaling, "budget": {"samples": 4}, "answer": answer})).json()
    assert reply["choices"][0]["message"]["content"] == "15"
    assert reply["scaling"]["answers"][0]["score"] == 1.0


async def test_nulls_are_fields_left_out(served):
    served.script(["15"] * 4)
    left_out = {
        name: None
        for name, field in ChatRequest.model_fields.items()
        if name not in ("scaling", "stream_options") and not field.is_required()
    }
    scaling = {**MAJORITY, "params": None, "answer": {"format": None, "exclude": None}}
    response = await served.chat(**left_out, stream_options={"include_usage": None}, scaling=scaling)
    assert response.status_code == 200, response.text
    asked_plainly = await served.chat(logprobs=False, parallel_tool_calls=True, stream=True)
    assert asked_plainly.status_code == 200


async def test_an_answer_that_openais_client_sends_back_is_taken(served):
    call = json.dumps({"name": "add", "arguments": {"a": 1}})
    served.script([call, "done", "done"])
    one = {"scaling": {"budget": {"samples": 1}}}
    ask = [{"role": "user", "content": "1 + 1"}]
    async with AsyncOpenAI(base_url=served.url + "/v1", api_key="-") as client:
        reply = await client.chat.completions.create(
            model="stand-in", messages=ask, tools=TOOLS, extra_body=one
        )
        said = reply.choices[0].message.model_dump()
        said |= {"annotations": [], "audio": None, "function_call": None, "refusal": None}
        said["tool_calls"][0]["index"] = 0
        result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "2"}
        again = await client.chat.completions.create(
            model="stand-in", messages=[*ask, said, result], tools=TOOLS, extra_body=one
        )
    assert again.choices[0].message.content == "done"
    sent = [body for path, body in served.stand_in.requests if path == "/tokenize"][-1]["messages"][1]
    assert set(sent) == {"role", "content", "tool_calls"}
    assert set(sent["tool_calls"][0]) == {"id", "type", "function"}


async def test_a_developer_is_a_system_to_the_template(served):
    served.script(["x"])
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    await served.chat(messages=messages, scaling={"budget": {"samples": 1}})
    (sent,) = (body for path, body in served.stand_in.requests if path == "/tokenize")
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


async def test_fewer_answers_than_n_are_told(served):
    served.script(["a", EngineError("lost"), "b", EngineError("lost")])
    reply = (await served.chat(n=3, scaling={"strategy": "best_of_n", "budget": {"samples": 4}})).json()
    assert len(reply["choices"]) == 2
    assert "n asked for 3 answers, and 2 came out of this run." in reply["scaling"]["warnings"]


@pytest.mark.parametrize("arguments", [r'{"a": "\ud800"}', '{"a": 1' + "0" * 40 + "}"])
async def test_arguments_that_utf8_or_64_bits_cannot_hold_are_answered(served, arguments):
    served.script([rf'{{"name": "add\udfff", "arguments": {arguments}}}'])
    response = await served.chat(tools=TOOLS, scaling={"budget": {"samples": 1}})
    assert response.status_code == 200, response.text
    (tool_call,) = response.json()["choices"][0]["message"]["tool_calls"]
    assert tool_call["function"]["name"].startswith("add\ufffd")
    assert "a" in json.loads(tool_call["function"]["arguments"])


async def test_tools_that_may_not_be_called_have_no_vote(served):
    call = json.dumps({"name": "add", "arguments": {}})
    served.script([call, "15", "15"])
    scaling = {"strategy": "majority", "budget": {"samples": 3}}
    reply = (await served.chat(tools=TOOLS, tool_choice="none", scaling=scaling)).json()
    assert reply["choices"][0]["message"]["content"] == "15"
    assert "add" not in {answer["answer"] for answer in reply["scaling"]["answers"]}


async def test_the_same_length_said_twice_is_taken(served):
    served.script(["x" * 50])
    lengths = {"max_tokens": 7, "max_completion_tokens": 7}
    reply = (await served.chat(**lengths, scaling={"budget": {"samples": 1}})).json()
    assert reply["usage"]["completion_tokens"] == 7


async def test_a_default_above_a_limit_is_lowered_to_it_and_the_reply_says_so():
    defaults = {"budget": {"samples": 8, "tokens": 4096, "seconds": 60}}
    limits = {"samples": 2, "tokens": 100, "seconds": 9}
    async with live(["a"] * 4, defaults=defaults, limits=limits) as served:
        assert (await served.chat()).json()["scaling"]["budget"] == limits | UNPRICED
        unsaid = (await served.chat(scaling={"budget": {"samples": 1}})).json()["scaling"]
    assert unsaid["budget"] == {"samples": 1, "tokens": 100, "seconds": 9} | UNPRICED


async def test_a_model_is_told_by_its_name():
    models = [{"name": "org/m", "urls": ["http://127.0.0.1:9"]}]
    async with live(models=models) as served:
        (listed,) = (await served.client.get("/v1/models")).json()["data"]
        found = await served.client.get("/v1/models/org/m")
        gone = await served.client.get("/v1/models/gpt-9")
    assert found.json() == Model.model_validate(listed).model_dump()
    assert listed["created"] > 1_700_000_000
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_description_is_made_once_for_a_service():
    pages = Pages(WorldConfig())
    assert pages.openapi is pages.openapi
    assert "/v1/models/{id}" in json.loads(pages.openapi)["paths"]
    assert pages.docs is pages.docs


async def test_catalogues_name_what_can_be_asked_for(served):
    models = (await served.client.get("/v1/models")).json()["data"]
    assert [(m["id"], m["ready"]) for m in models] == [("stand-in", True)]
    strategies = (await served.client.get("/v1/strategies")).json()["data"]
    assert {s["name"] for s in strategies} >= {
        "majority",
        "best_of_n",
        "best_of_majority",
        "repeated_sampling",
    }
    verifiers = (await served.client.get("/v1/verifiers")).json()["data"]
    assert {v["name"] for v in verifiers} == {"self_certainty", "judge", "exact", "unit_tests"}


async def test_metrics_count_requests_and_what_they_spent(served):
    served.script(["15"] * 4)
    await served.chat(scaling=MAJORITY)
    text = (await served.client.get("/metrics")).text
    label = '{model="stand-in",strategy="majority"}'
    assert f"aliquot_samples_total{label} 4.0" in text
    assert f"aliquot_generated_tokens_total{label} 8.0" in text
    assert f"aliquot_prefix_cache_hit_tokens_total{label} 7.0" in text
    assert 'aliquot_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert "aliquot_requests_in_flight 1.0" in text
    assert f"aliquot_outside_engine_seconds_total{label}" in text


async def test_health_and_readiness(served):
    assert (await served.client.get("/healthz")).json() == {"status": "ok"}
    ready = await served.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ok", "engines": {"stand-in": True}, "store": True},
    )
    async with live(models=[{"name": "gone", "urls": ["http://127.0.0.1:9"]}]) as down:
        ready = await down.client.get("/readyz")
        assert (ready.status_code, ready.json()["engines"]) == (503, {"gone": False})
