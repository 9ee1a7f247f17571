"""POST /v1/budget/cost: what it answers is the cost law's."""

import json

import pytest

from budgets.hardware import HARDWARE
from budgets.kinetics import PUBLISHED_TERMS, TERMS, cost, kv_bytes_peak
from budgets.latency import decode_seconds, prefill_seconds
from budgets.models import ModelShape
from budgets.workload import BlockTopK, TopK, Verification, Workload
from service.budget_replies import PlanCost
from tests.service.priced import LLAMA, NUMBERS, PLAN

SHAPE = ModelShape(**NUMBERS)
WORKLOAD = Workload(**PLAN)
H100 = HARDWARE["h100-sxm"]


async def asked(served, **body):
    response = await served.client.post("/v1/budget/cost", json=PLAN | body)
    assert response.status_code == 200, response.text
    PlanCost.model_validate(response.json())
    return response.json()


async def test_the_answer_is_the_cost_laws(served):
    reply = await asked(served, shape=NUMBERS, hardware="h100-sxm")
    counted = cost(SHAPE, WORKLOAD, H100.arithmetic_intensity)
    assert reply["eflops"] == {
        "compute": counted.compute,
        "memory": counted.memory,
        "total": counted.total,
        **counted.terms,
    }
    assert reply["dominant_term"] == "weight_reads"
    assert reply["seconds"] == prefill_seconds(SHAPE, H100, WORKLOAD) + decode_seconds(SHAPE, H100, WORKLOAD)
    assert reply["kv_bytes_peak"] == kv_bytes_peak(SHAPE, WORKLOAD)
    assert reply["fits_memory"] is True
    assert reply["usd"] is None
    assert ["usd_per_hour" in warning for warning in reply["warnings"]] == [True]


@pytest.mark.parametrize(
    ("attention", "meant"),
    [
        ({"kind": "topk", "budget": 256}, TopK(256)),
        ({"kind": "block_topk", "local": 64, "block_size": 16, "topk": 8}, BlockTopK(64, 16, 8)),
    ],
)
async def test_sparse_attention_is_counted(served, attention, meant):
    body = {"shape": NUMBERS, "arithmetic_intensity": 200, "attention": attention, "share_prompt": False}
    reply = await asked(served, **body)
    expected = cost(SHAPE, Workload(**PLAN, attention=meant, share_prompt=False), 200)
    assert {name: reply["eflops"][name] for name in TERMS} == expected.terms


async def test_from_an_intensity_alone_no_seconds_and_a_warning_that_says_what_to_give(served):
    reply = await asked(served, shape=NUMBERS, arithmetic_intensity=562.5)
    assert [reply[name] for name in ("seconds", "usd", "fits_memory")] == [None, None, None]
    assert "give hardware" in reply["warnings"][0]
    assert reply["eflops"]["total"] == cost(SHAPE, WORKLOAD, 562.5).total


async def test_the_published_terms_alone_and_what_is_odd_in_them_is_said(served):
    body = {"shape": NUMBERS, "arithmetic_intensity": 562.5, "published": True}
    eflops = (await asked(served, **body))["eflops"]
    assert {name for name in TERMS if eflops[name] is not None} == set(PUBLISHED_TERMS)
    assert eflops["total"] == cost(SHAPE, WORKLOAD, 562.5, published=True).total
    wide = {"kind": "block_topk", "local": 64, "block_size": 16, "topk": 4000}
    reply = await asked(served, **body, attention=wide)
    assert any("makes kv_reads negative here: leave out published" in w for w in reply["warnings"])


async def test_a_configured_model_has_its_shape_hardware_and_price(priced):
    reply = await asked(priced, model="small")
    shape, hardware = ModelShape.from_config(LLAMA), H100.times(2)
    prefill, decode = (of(shape, hardware, WORKLOAD) for of in (prefill_seconds, decode_seconds))
    assert reply["eflops"]["total"] == cost(shape, WORKLOAD, H100.arithmetic_intensity).total
    assert reply["seconds"] == prefill + decode
    # Two accelerators at 3.60 USD an hour, whose decode steps two requests share.
    assert reply["usd"] == pytest.approx((prefill + decode / 2) * 2 * 3.6 / 3600)
    assert reply["warnings"] == []


async def test_bytes_of_weights_and_kv_come_from_the_configuration(priced):
    wide, narrow = [await asked(priced, model=name) for name in ("small", "quantised")]
    for term in ("weight_reads", "kv_reads"):
        assert narrow["eflops"][term] == wide["eflops"][term] / 2
    assert narrow["kv_bytes_peak"] == wide["kv_bytes_peak"] / 2


async def test_hardware_in_the_body_overrides_the_configured_one(priced):
    for hardware in ("l4", {"flops": 1e14, "bytes_per_second": 1e12, "memory_bytes": 1e8}):
        reply = await asked(priced, model="small", hardware=hardware)
        assert reply["usd"] is None
        assert "usd_per_hour" in reply["warnings"][0]
    assert reply["eflops"]["total"] == cost(ModelShape.from_config(LLAMA), WORKLOAD, 100).total
    assert reply["fits_memory"] is False
    assert "do not fit 0.1 GB" in reply["warnings"][1]
    same = await asked(priced, model="small", hardware="h100-sxm")
    assert same == await asked(priced, model="small")


async def test_a_config_is_read_once_and_read_again_after_it_could_not_be(priced, tmp_path):
    before = await asked(priced, model="small")
    (tmp_path / "small" / "config.json").unlink()
    assert await asked(priced, model="small") == before
    refused = await priced.client.post("/v1/budget/cost", json=PLAN | {"model": "broken"})
    assert refused.status_code == 422
    (tmp_path / "broken" / "config.json").write_text(json.dumps(LLAMA))
    await asked(priced, model="broken")


async def test_a_verifier_is_priced_with_a_call_for_each_sample(priced):
    shape = ModelShape.from_config(LLAMA)
    calls = Workload(512 + 4096, 0, 16, share_prompt=False, concurrency=2)
    alone = await asked(priced, model="small")
    read = await asked(priced, model="small", verifier={"model": "small"})
    verdict = cost(shape, calls, H100.arithmetic_intensity)
    assert read["eflops"]["verifier_compute"] == verdict.compute
    assert read["eflops"]["verifier_memory"] == pytest.approx(verdict.memory)
    assert read["seconds"] == alone["seconds"] + prefill_seconds(shape, H100.times(2), calls)
    tokens = {"prompt_tokens": 100, "output_tokens": 20}
    reply = await asked(priced, model="small", verifier={"shape": NUMBERS, **tokens})
    workload = Workload(100, 20, 16, share_prompt=False, concurrency=2)
    law = Workload(**PLAN, verifier=Verification(SHAPE, workload))
    assert reply["eflops"]["total"] == cost(shape, law, H100.arithmetic_intensity).total


async def test_a_null_is_a_field_left_out(served):
    names = ("samples", "concurrency", "attention", "share_prompt", "published", "verifier", "model")
    body = {"prompt_tokens": 5, "output_tokens": 9, "hardware": "l4"}
    bare = await served.client.post("/v1/budget/cost", json=body | {"shape": NUMBERS})
    nulls = body | dict.fromkeys(names) | {"shape": NUMBERS | dict.fromkeys(("weight_bytes", "kv_bytes"))}
    assert (await served.client.post("/v1/budget/cost", json=nulls)).json() == bare.json()
    assert bare.status_code == 200


async def test_a_plan_of_nothing_costs_nothing(served):
    reply = await asked(served, shape=NUMBERS, hardware="l4", prompt_tokens=0, output_tokens=0)
    assert reply["eflops"]["total"] == reply["seconds"] == 0
    assert reply["dominant_term"] is None


async def test_the_largest_of_everything_has_finite_costs(served):
    heads = dict.fromkeys(("num_attention_heads", "num_kv_heads", "head_dim"), 100_000)
    shape = {"params": 1e15, "num_layers": 10_000, **heads, "weight_bytes": 16, "kv_bytes": 16}
    body = {
        **dict.fromkeys(("prompt_tokens", "output_tokens", "samples", "concurrency"), 2**31),
        "shape": shape,
        "hardware": {"flops": 1e18, "bytes_per_second": 1, "memory_bytes": 1},
        "verifier": {"shape": shape, "prompt_tokens": 2**31, "output_tokens": 2**31},
    }
    sparse = {"kind": "block_topk", "local": 2**31, "block_size": 2**31, "topk": 2**31}
    for attention in (None, sparse, sparse | {"local": 1, "topk": 0}):
        reply = await asked(served, **body, attention=attention)
        assert all(isinstance(reply["eflops"][name], float) for name in TERMS)
        assert isinstance(reply["seconds"], float)
