"""Each bad plan for POST /v1/budget/cost is told its field and the mend."""

import json

import pytest

from service.reply_schemas import Error
from tests.service.priced import NUMBERS, PLAN


def shape(**fields):
    return {"shape": NUMBERS | fields, "hardware": "l4"}


GOOD = shape()
CASES = {
    "neither model nor shape": ({"hardware": "l4"}, 400, "model", "or shape"),
    "model and shape": ({"model": "small"} | GOOD, 400, "shape", "one of them"),
    "an unknown model": ({"model": "gpt-9"}, 404, "model", "There are small"),
    "no prompt_tokens": (GOOD | {"prompt_tokens": None}, 400, "prompt_tokens", "valid integer"),
    "negative tokens": (GOOD | {"output_tokens": -1}, 400, "output_tokens", "equal to 0"),
    "no samples": (GOOD | {"samples": 0}, 400, "samples", "equal to 1"),
    "absurd samples": (GOOD | {"samples": 10**400}, 400, "samples", "less than"),
    "half a request": (GOOD | {"concurrency": 1.5}, 400, "concurrency", "integer"),
    "negative parameters": (shape(params=-8e9), 400, "shape.params", "equal to 1"),
    "absurd parameters": (shape(params=10**400), 400, "shape.params", "finite"),
    "more active than all": (shape(active_params=9e9), 400, "shape.active_params", "8.19e+09"),
    "negative layers": (shape(num_layers=-1), 400, "shape.num_layers", "equal to 1"),
    "heads that are not divisible": (shape(num_kv_heads=5), 400, "shape.num_kv_heads", "which are 32"),
    "no head_dim": (
        {"hardware": "l4", "shape": {k: v for k, v in NUMBERS.items() if k != "head_dim"}},
        400,
        "shape.head_dim",
        "Add it",
    ),
    "no bytes": (shape(kv_bytes=0), 400, "shape.kv_bytes", "greater than 0"),
    "an unknown field": (GOOD | {"temperature": 1}, 400, "temperature", "Leave it out"),
    "an unknown field of the shape": (shape(num_experts=8), 400, "shape.num_experts", "Leave it out"),
    "a shape as text": ({"shape": "llama", "hardware": "l4"}, 400, "shape", "object"),
    "unknown hardware": (GOOD | {"hardware": "h100"}, 422, "hardware", "h100-sxm"),
    "hardware without speed": (
        GOOD | {"hardware": {"flops": 0, "bytes_per_second": 1, "memory_bytes": 1}},
        400,
        "hardware.flops",
        "equal to 1",
    ),
    "hardware and an intensity": (
        GOOD | {"arithmetic_intensity": 1},
        400,
        "arithmetic_intensity",
        "Leave out",
    ),
    "a negative intensity": (
        {"shape": NUMBERS, "arithmetic_intensity": -1},
        400,
        "arithmetic_intensity",
        "greater than 0",
    ),
    "no hardware": ({"shape": NUMBERS}, 422, "hardware", "arithmetic_intensity"),
    "no hardware configured": ({"model": "bare"}, 422, "hardware", "configure the hardware of bare"),
    "unknown hardware configured": ({"model": "misnamed"}, 422, "hardware", "h100-sxm"),
    "no path configured": ({"model": "no-path"}, 422, "model", "send the model's shape"),
    "no config.json there": ({"model": "no-config"}, 422, "model", "send the model's shape"),
    "a config.json that is not JSON": ({"model": "broken"}, 422, "model", "not JSON"),
    "a family that is not known": ({"model": "strange"}, 422, "model", "rwkv"),
    "unknown attention": (GOOD | {"attention": {"kind": "linear"}}, 400, "attention", "'block_topk'"),
    "attention as text": (GOOD | {"attention": "topk"}, 400, "attention", "an object"),
    "attention without its budget": (
        GOOD | {"attention": {"kind": "topk"}},
        400,
        "attention.budget",
        "Add it",
    ),
    "a budget of dense attention": (
        GOOD | {"attention": {"kind": "dense", "budget": 8}},
        400,
        "attention.budget",
        "Leave it out",
    ),
    "attention to nothing": (
        GOOD | {"attention": {"kind": "block_topk", "local": 0, "block_size": 8, "topk": 0}},
        400,
        "attention.topk",
        "greater than 0 where local is 0",
    ),
    "a verifier of nothing": (GOOD | {"verifier": {}}, 400, "verifier.model", "or verifier.shape"),
    "an unknown verifier": (GOOD | {"verifier": {"model": "gpt-9"}}, 404, "verifier.model", "There are"),
    "two verifiers": (
        GOOD | {"verifier": {"model": "small", "shape": NUMBERS}},
        400,
        "verifier.shape",
        "one of them",
    ),
    "a verifier without a shape": (
        GOOD | {"verifier": {"model": "no-path"}},
        422,
        "verifier.model",
        "send the model's shape",
    ),
    "a negative verifier": (
        GOOD | {"verifier": {"shape": NUMBERS | {"head_dim": -1}}},
        400,
        "verifier.shape.head_dim",
        "equal to 1",
    ),
    "a published verifier": (
        GOOD | {"published": True, "verifier": {"shape": NUMBERS}},
        400,
        "verifier",
        "Leave out verifier or published",
    ),
    "NUL": ({"model": "a\x00"}, 400, "model", "NUL"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_bad_plan_is_told_its_field_and_the_mend(priced, tmp_path, case):
    body, status, param, says = CASES[case]
    response = await priced.client.post("/v1/budget/cost", json=PLAN | body)
    assert response.status_code == status, response.text
    error = Error.model_validate(response.json()).error
    assert error.param == param
    assert says in error.message
    assert str(tmp_path) not in error.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["arithmetic_intensity", "shape.params", "hardware.flops", "samples"])
async def test_what_is_no_number_is_refused(served, field, number):
    body = PLAN | {"shape": dict(NUMBERS), "hardware": {"bytes_per_second": 1, "memory_bytes": 1, "flops": 1}}
    holder, _, name = field.rpartition(".")
    (body[holder] if holder else body)[name] = 123456789
    content = json.dumps(body).replace("123456789", number)
    response = await served.client.post("/v1/budget/cost", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field
