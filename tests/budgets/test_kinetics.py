"""The cost law: the published values, examples by hand, and what must hold whatever the model and the request."""

import json
import re
import subprocess
import sys

import pytest

from budgets.hardware import HARDWARE
from budgets.kinetics import (
    COMPUTE_TERMS,
    MEMORY_TERMS,
    PUBLISHED_TERMS,
    cost,
    kv_bytes_peak,
    published_work,
)
from budgets.models import LatentAttention, ModelShape
from budgets.workload import BlockTopK, Dense, Depth, TopK, Verification, Workload
from tests.reference import ROOT, SHARED

SMALL = ModelShape(1000, 1000, num_layers=2, num_attention_heads=4, num_kv_heads=2, head_dim=8)
"""A position of KV: 2 layers × 2 (key and value) × 2 heads × 8 × 2 bytes = 128 bytes; attending to one: 256 FLOP."""
KINDS = {"dense": Dense, "topk": TopK, "block_topk": BlockTopK}


def reference_cases():
    whole = SHARED / "reference" / "kinetics_cost.json"
    source = whole if whole.exists() else ROOT / "tests" / "data" / "kinetics_cost.json"
    cases = json.loads(source.read_text())["cases"]
    return [pytest.param(case["inputs"], case["outputs"], id=case["id"]) for case in cases]


def setting(inputs, **options):
    attention = dict(inputs["attention"])
    params = inputs["params"]
    heads = (inputs["num_attention_heads"], inputs["num_kv_heads"], inputs["head_dim"])
    kind = KINDS[attention.pop("kind")]
    workload = Workload(
        inputs["prompt_tokens"],
        inputs["output_tokens"],
        inputs["num_trials"],
        **{"attention": kind(**attention)} | options,
    )
    return ModelShape(params, params, inputs["num_layers"], *heads), workload, inputs["arithmetic_intensity"]


def teraflop(value):
    return pytest.approx(value * 1e12, rel=1e-9)


@pytest.mark.parametrize(("inputs", "outputs"), reference_cases())
def test_published_reproduces_the_published_code(inputs, outputs):
    shape, workload, intensity = setting(inputs)
    found = cost(shape, workload, intensity, published=True)
    assert found.compute == teraflop(outputs["compute_cost"])
    assert found.memory == teraflop(outputs["memory_cost"])
    assert found.total == teraflop(outputs["total"])
    assert set(found.terms) == set(PUBLISHED_TERMS)


@pytest.mark.parametrize(("inputs", "outputs"), reference_cases())
def test_published_without_sharing_agrees(inputs, outputs):
    shape, workload, intensity = setting(inputs, attention=Dense(), share_prompt=False)
    assert cost(shape, workload, intensity, published=True).memory == teraflop(outputs["dense_no_sharing"])


@pytest.mark.parametrize(("inputs", "outputs"), reference_cases())
def test_the_corrected_integral_agrees(inputs, outputs):
    corrected = outputs.get("corrected", outputs)
    shape, workload, intensity = setting(inputs)
    work = published_work(shape, workload, corrected=True)
    compute = sum(work[name] for name in COMPUTE_TERMS if name in work)
    memory = intensity * sum(work[name] for name in MEMORY_TERMS if name in work)
    assert compute == teraflop(corrected["compute_cost"])
    assert memory == teraflop(corrected["memory_cost"])
    assert compute + memory == teraflop(corrected["total"])


@pytest.mark.parametrize(("inputs", "outputs"), reference_cases())
def test_the_exact_dense_count_nears_the_published_one_with_length(inputs, outputs):
    shape, workload, intensity = setting(inputs, attention=Dense())
    exact = cost(shape, workload, intensity, terms=PUBLISHED_TERMS).total
    published = cost(shape, workload, intensity, published=True).total
    assert exact == pytest.approx(published, rel=2 / inputs["output_tokens"])


def test_the_published_cost_can_be_negative_and_the_exact_one_is_not():
    shape = ModelShape(752e6, 752e6, 28, 16, 8, 128)
    workload = Workload(10, 100, 4, BlockTopK(local=0, block_size=16, topk=300))
    assert cost(shape, workload, 562.5, published=True).total < 0
    assert cost(shape, workload, 562.5).total > 0


def test_a_request_by_hand():
    # Prompt of 10; two samples of 3 tokens: the prompt's pass, then 2 steps that attend to 11 and 12 positions.
    terms = cost(SMALL, Workload(10, 3, 2), 10).terms
    assert terms["prefill_linear"] == 2 * 1000 * 10
    assert terms["prefill_attention"] == 256 * (10 * 11 / 2)
    assert terms["linear"] == 2 * 1000 * 2 * 2
    assert terms["attention"] == 256 * 2 * (11 + 12)
    assert terms["kv_reads"] == 10 * 128 * ((10 + 2 * 1) + (10 + 2 * 2))
    assert terms["weight_reads"] == 10 * 3 * 2000
    assert terms["block_search"] == terms["block_search_reads"] == terms["verifier_compute"] == 0
    assert kv_bytes_peak(SMALL, Workload(10, 3, 2)) == 128 * (10 + 2 * 3)


def test_without_sharing_each_sample_has_its_own_prompt():
    workload = Workload(10, 3, 2, share_prompt=False)
    terms = cost(SMALL, workload, 10).terms
    assert terms["prefill_linear"] == 2 * 2 * 1000 * 10
    assert terms["kv_reads"] == 10 * 128 * 2 * (11 + 12)
    assert kv_bytes_peak(SMALL, workload) == 128 * 2 * (10 + 3)


def test_sparse_attention_by_hand():
    # One sample, steps at 11, 12 and 13 positions; blocks of 4: ⌈11/4⌉, ⌈12/4⌉, ⌈13/4⌉ = 3, 3, 4 of them.
    top = cost(SMALL, Workload(10, 4, 1, TopK(12)), 10).terms
    assert top["attention"] == 256 * (11 + 12 + 12)
    assert top["kv_reads"] == 10 * 128 * (11 + 12 + 12)
    block = cost(SMALL, Workload(10, 4, 1, BlockTopK(2, 4, 2)), 10).terms
    assert block["attention"] == 256 * 3 * 10
    assert block["block_search"] == 128 * (3 + 3 + 4)
    assert block["block_search_reads"] == 10 * 64 * (3 + 3 + 4)
    # With a budget of 12 there is something to choose in the last step alone.
    assert cost(SMALL, Workload(10, 4, 1, BlockTopK(4, 4, 2)), 10).terms["block_search"] == 128 * 4
    # Two samples share the prompt's two full blocks.
    shared = cost(SMALL, Workload(10, 4, 2, BlockTopK(2, 4, 2)), 10).terms
    assert shared["block_search_reads"] == 10 * 64 * ((2 + 2 * 1) + (2 + 2 * 1) + (2 + 2 * 2))


def test_a_window_bounds_what_its_layers_read_and_keep():
    windowed = ModelShape(1000, 1000, 2, 4, 2, 8, sliding_window=12, sliding_layers=1)
    terms = cost(windowed, Workload(10, 4), 10).terms
    assert terms["attention"] == 128 * ((11 + 12 + 13) + (11 + 12 + 12))
    assert terms["kv_reads"] == 10 * 64 * ((11 + 12 + 13) + (11 + 12 + 12))
    assert kv_bytes_peak(windowed, Workload(10, 4)) == 64 * (14 + 12)


def test_latent_attention_reads_one_vector_for_all_heads():
    latent = ModelShape(1000, 1000, 2, 4, 4, 8, latent=LatentAttention(rank=16, rope_dim=4))
    terms = cost(latent, Workload(10, 2), 1).terms
    assert terms["kv_reads"] == 2 * (16 + 4) * 2 * 11
    assert terms["attention"] == 2 * 2 * 4 * (16 + 4 + 16) * 11
    assert terms["prefill_attention"] == 2 * 4 * 4 * 8 * (10 * 11 / 2)


def test_a_search_reads_per_live_path_and_keeps_what_is_distinct():
    # Four paths of 2 tokens, then two of 3 more: steps at 1; 2, 3, 4 positions past the prompt of 10.
    workload = Workload.search(10, [Depth(4, 2, kept=8), Depth(2, 3, kept=9)])
    assert (workload.output_tokens, workload.samples) == (5, 4)
    terms = cost(SMALL, workload, 10).terms
    assert terms["kv_reads"] == 10 * 128 * ((10 + 4) + (10 + 2 * 2) + (10 + 2 * 3) + (10 + 2 * 4))
    assert terms["linear"] == 2 * 1000 * (4 + 2 * 3)
    assert kv_bytes_peak(SMALL, workload) == 128 * (10 + 9)
    alone = Workload.search(10, [Depth(4, 2), Depth(2, 3)])
    assert kv_bytes_peak(SMALL, alone) == 128 * (10 + 2 * 5)


def test_the_head_is_needed_for_sampled_tokens_alone():
    shape = ModelShape(1200, 1000, 2, 4, 2, 8, lookup_params=200, head_params=200)
    assert cost(shape, Workload(10, 1, 3), 1).terms["prefill_linear"] == 2 * (800 * 10 + 200 * 3)
    assert cost(shape, Workload(10, 0), 1).terms["prefill_linear"] == 2 * 800 * 10


def test_cached_tokens_are_attended_to_but_not_computed():
    terms = cost(SMALL, Workload(10, 1, cached_tokens=8), 1).terms
    assert terms["prefill_linear"] == 2 * 1000 * 2
    assert terms["prefill_attention"] == 256 * (9 + 10)


def test_a_verifier_is_priced_on_its_own_shape():
    reads = Workload(12, 0, 2, share_prompt=False)
    one = Workload(10, 3, 2, verifier=Verification(SMALL, reads))
    terms = cost(SMALL, one, 10).terms
    alone = cost(SMALL, reads, 10)
    assert terms["verifier_compute"] == alone.compute > 0
    assert terms["verifier_memory"] == alone.memory > 0


def test_weights_are_shared_by_requests_that_run_at_once_and_experts_are_touched():
    dense = [cost(SMALL, Workload(10, 3, concurrency=n), 1).terms["weight_reads"] for n in (1, 4)]
    assert dense[1] == pytest.approx(dense[0] / 4)
    mixture = ModelShape(1000, 190, 2, 4, 2, 8, num_experts=10, experts_per_token=1)
    # 100 parameters for every token and 90 of 900 in each expert.
    assert mixture.weight_bytes_read(1) == pytest.approx(2 * 190)
    assert mixture.weight_bytes_read(2) == pytest.approx(2 * (100 + 900 * (1 - 0.9**2)))
    assert mixture.weight_bytes_read(1e6) == pytest.approx(2 * 1000)
    unknown = ModelShape(1000, 190, 2, 4, 2, 8)
    assert unknown.weight_bytes_read(1) == pytest.approx(2 * 190)
    assert unknown.weight_bytes_read(1e6) == pytest.approx(2 * 1000)


def test_attention_outweighs_the_linear_layers_of_a_small_model_first():
    def share(params, layers, heads):
        shape = ModelShape(params, params, layers, heads, 8, 128)
        terms = cost(shape, Workload(512, 8192, 1), HARDWARE["h100-sxm"].arithmetic_intensity).terms
        return (terms["attention"] + terms["kv_reads"]) / terms["linear"]

    assert share(0.6e9, 28, 16) > share(8.2e9, 36, 32) > share(32.8e9, 64, 64)


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "cost.md").read_text()


def test_every_table_of_the_page_is_what_the_benchmark_prints(page, tmp_path):
    picture = tmp_path / "kinetics.svg"
    command = [sys.executable, str(ROOT / "benchmarks" / "kinetics.py"), "--plot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    tables = [block for block in done.stdout.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    assert all(table.strip() in page for table in tables)
    assert "<svg" in picture.read_text()


def test_the_example_of_the_page_prints_what_it_shows(page, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "cost.md", "exec"), {})
    shown = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    assert capsys.readouterr().out == shown


def test_the_hardware_of_the_page_is_what_is_known(page):
    for one in HARDWARE.values():
        (row,) = re.findall(rf"\| `{one.name}` \|(.*)\|", page)
        flops, fp8, bandwidth, memory, intensity = (cell.strip().replace(",", "") for cell in row.split("|"))
        assert float(flops) == pytest.approx(one.flops / 1e12, rel=1e-4)
        assert fp8 == "–" if one.fp8_flops is None else float(fp8) == pytest.approx(one.fp8_flops / 1e12)
        assert float(bandwidth) == pytest.approx(one.bytes_per_second / 1e12)
        assert float(memory) == one.memory_bytes / 1e9
        assert float(intensity) == round(one.arithmetic_intensity)
