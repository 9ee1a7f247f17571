"""Each bad request gets an error of OpenAI's shape that names the field and the mend, and never a 500."""

import asyncio
import json

import pytest

from service.errors import ApiError
from service.reply_schemas import Error
from service.schemas import read_chat
from tests.service.live import MESSAGES, live
from tests.stand_ins import MODEL

NESTED = json.loads('{"a":' * 90 + "1" + "}" * 90)


def scaling(**fields):
    return {"scaling": fields}


def budget(**caps):
    return scaling(budget=caps)


def answer(**fields):
    return scaling(answer=fields)


CASES = {
    "no model": ({"model": ...}, 400, "model", "missing"),
    "unknown model": ({"model": "gpt-9"}, 404, "model", "There are stand-in"),
    "no messages": ({"messages": ...}, 400, "messages", "missing"),
    "empty messages": ({"messages": []}, 400, "messages", "at least 1 item"),
    "unknown role": ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages.0.role", "system"),
    "no content": ({"messages": [{"role": "user"}]}, 400, "messages.0.content", "Give a text"),
    "an image": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}
            ]
        },
        400,
        "messages.0.content.0.type",
        "'text'",
    ),
    "NUL": ({"messages": [{"role": "user", "content": "a\x00b"}]}, 400, "messages.0.content", "NUL"),
    "a parameter nobody has": ({"best_of": 3}, 400, "best_of", "Leave it out"),
    "logprobs": ({"logprobs": True}, 400, "logprobs", "should be False"),
    "temperature too high": ({"temperature": 2.5}, 400, "temperature", "less than or equal to 2"),
    "temperature as text": ({"temperature": "hot"}, 400, "temperature", "number"),
    "max_tokens of zero": ({"max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
    "max_tokens beyond the context": ({"max_tokens": 40_000}, 400, "max_tokens", "of 32768"),
    "an empty stop": ({"stop": ""}, 400, "stop", "1 to 1,000"),
    "too many stops": ({"stop": ["x"] * 17}, 400, "stop", "at most 16"),
    "an unknown effort": ({"reasoning_effort": "heroic"}, 400, "reasoning_effort", "low, medium, high"),
    "effort and a budget": (
        {"reasoning_effort": "low", "scaling": {"budget": {"samples": 2}}},
        400,
        "reasoning_effort",
        "one of them",
    ),
    "an unknown field of scaling": (scaling(stratgy="majority"), 400, "scaling.stratgy", "Leave it out"),
    "an unknown strategy": (scaling(strategy="luck"), 422, "scaling.strategy", "There are auto, beam_search"),
    "an unknown verifier": (scaling(verifier="oracle"), 422, "scaling.verifier", "There are self_certainty"),
    "a verifier that is missing": (
        scaling(strategy="repeated_sampling"),
        422,
        "scaling.verifier",
        "Name one",
    ),
    "exact without a reference": (
        scaling(verifier="exact"),
        422,
        "scaling.verifier.reference",
        "right answer",
    ),
    "an option of another verifier": (
        scaling(verifier={"name": "judge", "reference": "1"}),
        400,
        "scaling.verifier.reference",
        "no option",
    ),
    "a judge nobody has": (
        scaling(verifier={"name": "judge", "model": "gpt-9"}),
        404,
        "scaling.verifier.model",
        "There are",
    ),
    "an unknown parameter": (scaling(params={"alfa": 1}), 400, "scaling.params.alfa", "It has stop"),
    "a parameter out of range": (
        scaling(params={"confidence": 7}),
        400,
        "scaling.params.confidence",
        "less than 1",
    ),
    "no samples": (budget(samples=0), 400, "scaling.budget.samples", "greater than or equal to 1"),
    "negative samples": (budget(samples=-4), 400, "scaling.budget.samples", "greater than or equal to 1"),
    "samples as text": (budget(samples="4"), 400, "scaling.budget.samples", "integer"),
    "half a sample": (budget(samples=1.5), 400, "scaling.budget.samples", "integer"),
    "samples as truth": (budget(samples=True), 400, "scaling.budget.samples", "integer"),
    "absurd samples": (budget(samples=10**30), 400, "scaling.budget.samples", ""),
    "samples above the limit": (budget(samples=100_000), 400, "scaling.budget.samples", "at most 256"),
    "tokens above the limit": (budget(tokens=2_000_000), 400, "scaling.budget.tokens", "at most 1000000"),
    "no seconds": (budget(seconds=0), 400, "scaling.budget.seconds", "greater than 0"),
    "eflops of a model without a path": (budget(eflops=1.0), 422, "scaling.budget.eflops", "set its path"),
    "usd of a model without a path": (budget(usd=0.1), 422, "scaling.budget.usd", "set its path"),
    "no usd": (budget(usd=0.0), 400, "scaling.budget.usd", "greater than 0"),
    "n above samples": (
        {"n": 5, "scaling": {"budget": {"samples": 4}}},
        422,
        "n",
        "Raise scaling.budget.samples",
    ),
    "two answers at temperature 0": (
        {"temperature": 0, "n": 2, "scaling": {"budget": {"samples": 4}}},
        422,
        "n",
        "Raise it, or ask for n: 1",
    ),
    "two lengths": ({"max_tokens": 5, "max_completion_tokens": 6}, 400, "max_tokens", "one of them"),
    "a schema beside json_object": (
        {"response_format": {"type": "json_object", "json_schema": {"schema": {}}}},
        400,
        "response_format.json_schema",
        "Leave it out",
    ),
    "an unknown field in its own spelling": ({"Best-Of": 3}, 400, "Best-Of", "Leave it out"),
    "calls one by one": ({"parallel_tool_calls": False}, 400, "parallel_tool_calls", "should be True"),
    "a refusal": (
        {"messages": [*MESSAGES, {"role": "assistant", "content": "x", "refusal": "no"}]},
        400,
        "messages.1.refusal",
        "should be ''",
    ),
    "NUL in a name": ({"messages": [MESSAGES[0] | {"name": "a\x00"}]}, 400, "messages.0.name", "NUL"),
    "NUL in user": ({"user": "a\x00"}, 400, "user", "NUL"),
    "NUL in a tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "description": "\x00"}}]},
        400,
        "tools.0.function.description",
        "NUL",
    ),
    "NUL in a key": ({"chat_template_kwargs": {"a\x00": 1}}, 400, "chat_template_kwargs", "NUL"),
    "a template's fields that are too many": (
        {"chat_template_kwargs": {"a": "x" * 100_000}},
        400,
        "chat_template_kwargs",
        "at most 100000",
    ),
    "n of zero": ({"n": 0}, 400, "n", "greater than or equal to 1"),
    "an unknown format": (answer(format="haiku"), 400, "scaling.answer.format", "'auto'"),
    "a regex without pattern": (answer(format="regex"), 400, "scaling.answer.pattern", ""),
    "an invalid regex": (answer(format="regex", pattern="(["), 400, "scaling.answer.pattern", ""),
    "a regex that is too large": (
        answer(format="regex", pattern="a" * 100_000),
        400,
        "scaling.answer.pattern",
        "",
    ),
    "a regex that would be huge": (
        answer(format="regex", pattern="((a{1,1000}){1,1000}){1,1000}"),
        400,
        "scaling.answer.pattern",
        "",
    ),
    "a schema that is none": (
        answer(format="json", schema={"type": "nonsense"}),
        400,
        "scaling.answer.schema",
        "",
    ),
    "a response schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
        400,
        "response_format.json_schema.schema",
        "The schema cannot be used",
    ),
    "json_schema without one": (
        {"response_format": {"type": "json_schema"}},
        400,
        "response_format.json_schema",
        "Add it",
    ),
    "a forced tool that is not there": ({"tool_choice": "required"}, 400, "tool_choice", "Add it to tools"),
    "a tool without a name": (
        {"tools": [{"type": "function", "function": {}}]},
        400,
        "tools.0.function.name",
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_bad_request_is_told_its_field_and_the_mend(served, case):
    changes, status, param, says = CASES[case]
    body = {"model": MODEL, "messages": MESSAGES} | changes
    body = {name: value for name, value in body.items() if value is not ...}
    response = await served.client.post("/v1/chat/completions", json=body)
    assert response.status_code == status, response.text
    error = Error.model_validate(response.json()).error
    assert error.param == param
    assert says in error.message
    assert "Traceback" not in response.text
    assert served.completions == []


RAW = {
    "malformed JSON": (b'{"model": ', "is not valid JSON"),
    "no JSON at all": (b"hello", "is not valid JSON"),
    "an empty body": (b"", "is not valid JSON"),
    "a list": (b"[1, 2]", "object"),
    "invalid UTF-8": (b'{"model": "\xff"}', "is not valid JSON"),
    "a lone surrogate": (
        b'{"model": "stand-in", "messages": [{"role": "user", "content": "\\ud800"}]}',
        "JSON",
    ),
    "nesting without end": (b'{"a":' * 100_000, "is not valid JSON"),
    "a budget that is no number": (
        b'{"model": "stand-in", "messages": [{"role": "user", "content": "x"}],'
        b' "scaling": {"budget": {"seconds": NaN}}}',
        "finite number",
    ),
    "an infinite budget": (
        b'{"model": "stand-in", "messages": [{"role": "user", "content": "x"}],'
        b' "scaling": {"budget": {"seconds": Infinity}}}',
        "finite number",
    ),
}


BEGUN = b'{"model": "stand-in", "messages": [{"role": "user", "content": "x"}]'
NO_NUMBERS = {
    "chat_template_kwargs": b', "chat_template_kwargs": {"a": [NaN]}}',
    "scaling.params": b', "scaling": {"params": {"k": Infinity}}}',
    "scaling.answer.schema": b', "scaling": {"answer": {"format": "json", "schema": {"const": -Infinity}}}}',
    "tools.0.function.parameters": (
        b', "tools": [{"type": "function", "function": {"name": "f", "parameters": {"const": 1e999}}}]}'
    ),
}


@pytest.mark.parametrize("param", NO_NUMBERS)
async def test_what_json_has_no_number_for_is_refused_wherever_it_stands(served, param):
    response = await served.client.post("/v1/chat/completions", content=BEGUN + NO_NUMBERS[param])
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert "Send plain JSON" in error["message"]


MASSES = {
    "messages": b'{"model": "m", "messages": [' + b"{}," * 900_000 + b"{}]}",
    "messages.0.content": b'{"model": "m", "messages": [{"role": "user", "content": ['
    + b'{"type":"text","text":""},' * 100_000
    + b'{"type":"text","text":""}]}]}',
    "logit_bias": b'{"model": "m", "messages": [], "logit_bias": {'
    + b",".join(b'"%d":""' % i for i in range(200_000))
    + b"}}",
    "no field": b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}",
    "a long text": b'{"model": "m", "messages": [{"role": "' + b"x" * 3_000_000 + b'"}]}',
    "a long name": b'{"model": "m", "' + b"x" * 3_000_000 + b'": 1}',
}


@pytest.mark.parametrize("case", MASSES)
def test_a_mass_of_faults_is_told_in_a_short_sentence(case):
    with pytest.raises(ApiError) as refused:
        read_chat(MASSES[case])
    assert refused.value.status == 400
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("text", [r"\u0041\\u0000", "é", "😀"])
def test_what_only_looks_like_a_nul_is_text(text):
    request = read_chat(BEGUN.replace(b'"x"', f'"{text}"'.encode()) + b"}")
    assert request.messages[0].content == json.loads(f'"{text}"')


async def test_a_header_is_read_as_utf8_and_refused_where_it_is_not(served):
    served.script(["ja", "é"])
    url, body = "/v1/chat/completions", {"model": MODEL, "messages": MESSAGES}
    scaling = (
        '{"strategy": "best_of_n", "budget": {"samples": 2}, "verifier": {"name": "exact", "reference": "é"}}'
    )
    header = {b"X-Aliquot-Scaling": scaling.encode()}
    reply = (await served.client.post(url, json=body, headers=header)).json()
    assert reply["choices"][0]["message"]["content"] == "é"
    for bad in (b'{"strategy": "\\ud800"}', b'{"strategy": "\xff"}'):
        response = await served.client.post(url, json=body, headers={b"X-Aliquot-Scaling": bad})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "X-Aliquot-Scaling"


@pytest.mark.parametrize("case", RAW)
async def test_a_body_that_is_not_json_is_told_so(served, case):
    body, says = RAW[case]
    response = await served.client.post("/v1/chat/completions", content=body)
    assert response.status_code == 400, response.text
    assert says in Error.model_validate(response.json()).error.message


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("{", "invalid_json"),
        ('{"stratgy": "x"}', "unknown_parameter"),
        ('{"strategy": "luck"}', "unknown_strategy"),
    ],
)
async def test_a_bad_header_is_told_like_a_bad_body(served, header, code):
    body = {"model": MODEL, "messages": MESSAGES}
    response = await served.client.post(
        "/v1/chat/completions", json=body, headers={"X-Aliquot-Scaling": header}
    )
    assert response.json()["error"]["code"] == code


async def test_two_headers_of_scaling_are_refused(served):
    headers = [("X-Aliquot-Scaling", "{}"), ("X-Aliquot-Scaling", "{}")]
    body = {"model": MODEL, "messages": MESSAGES}
    response = await served.client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "X-Aliquot-Scaling"


async def test_scaling_in_body_and_header_is_refused(served):
    body = {"model": MODEL, "messages": MESSAGES, "scaling": {}}
    response = await served.client.post(
        "/v1/chat/completions", json=body, headers={"X-Aliquot-Scaling": "{}"}
    )
    assert response.status_code == 400
    assert "one of them" in response.json()["error"]["message"]


async def test_a_body_of_ten_megabytes_is_refused(served):
    content = "x" * 10_000_000
    response = await served.chat(messages=[{"role": "user", "content": content}])
    assert response.status_code == 413

    async def in_parts():
        for _ in range(100):
            yield b"x" * 100_000

    response = await served.client.post("/v1/chat/completions", content=in_parts())
    assert response.status_code == 413
    assert "larger than 4000000" in response.json()["error"]["message"]


async def test_too_many_messages_are_refused(served):
    response = await served.chat(messages=MESSAGES * 1001)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


async def test_a_prompt_longer_than_the_context_is_refused(served):
    served.script([], context=100)
    response = await served.chat(messages=[{"role": "user", "content": "x" * 100}])
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


async def test_a_client_that_sends_slowly_is_told_to_send_at_once():
    async with live(limits={"body_seconds": 0.05}) as served:

        async def slowly():
            yield b'{"model"'
            await asyncio.sleep(5)

        response = await served.client.post("/v1/chat/completions", content=slowly())
    assert response.status_code == 408
    assert response.headers["x-should-retry"] == "false"
    assert "Send it at once" in response.json()["error"]["message"]


async def test_a_route_that_is_not_there_has_the_shape_of_errors(served):
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405)):
        response = await served.client.request(method, path)
        assert response.status_code == status
        assert "/docs" in Error.model_validate(response.json()).error.message
