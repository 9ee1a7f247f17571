"""What must hold of the cost law whatever the model and the request."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from budgets.kinetics import TERMS, capped_sum, cost, decode_work, kv_bytes_peak, memory_bytes
from budgets.models import ModelShape
from budgets.workload import BlockTopK, Dense, Depth, Run, TopK, Workload

shapes = st.builds(
    lambda params, share, layers, groups, kv_heads, head_dim, kv_bytes, window, sliding: ModelShape(
        params,
        params * share,
        layers,
        groups * kv_heads,
        kv_heads,
        head_dim,
        kv_bytes=kv_bytes,
        sliding_window=window,
        sliding_layers=min(layers, sliding),
    ),
    *(st.integers(1000, 10**11), st.floats(0.02, 1), st.integers(1, 80), st.integers(1, 16)),
    *(st.integers(1, 16), st.integers(1, 256), st.sampled_from((1.0, 2.0))),
    *(st.integers(1, 5000), st.sampled_from((0, 1, 40))),
)
attentions = st.one_of(
    st.just(Dense()),
    st.builds(TopK, st.integers(1, 10_000)),
    st.builds(BlockTopK, st.integers(1, 300), st.integers(1, 130), st.integers(0, 100)),
)
workloads = st.builds(
    Workload,
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(1, 300),
    attentions,
    st.booleans(),
    st.integers(1, 64),
)


@given(shapes, workloads, st.floats(0, 1e4))
def test_terms_are_never_negative_and_add_up(shape, workload, intensity):
    found = cost(shape, workload, intensity)
    assert set(found.terms) == set(TERMS)
    assert all(0 <= amount < math.inf for amount in found.terms.values())
    assert found.total == pytest.approx(math.fsum(found.terms.values()))
    assert found.terms[found.dominant_term] == max(found.terms.values())
    assert memory_bytes(shape, workload) >= kv_bytes_peak(shape, workload) >= 0


@given(shapes, workloads, st.sets(st.sampled_from(TERMS)))
def test_a_term_that_is_switched_off_is_all_that_changes(shape, workload, names):
    whole, part = cost(shape, workload, 300), cost(shape, workload, 300, terms=names)
    assert part.terms == {name: amount for name, amount in whole.terms.items() if name in names}


@given(shapes, workloads, st.floats(1, 1e3))
def test_memory_scales_with_intensity_and_compute_does_not(shape, workload, intensity):
    one, other = cost(shape, workload, 1), cost(shape, workload, intensity)
    assert other.compute == one.compute
    assert other.memory == pytest.approx(one.memory * intensity)


@given(shapes, workloads, st.floats(0, 1e4))
def test_sharing_never_costs_more(shape, workload, intensity):
    def with_sharing(share):
        settings = (
            workload.prompt_tokens,
            workload.output_tokens,
            workload.samples,
            workload.attention,
            share,
        )
        return Workload(*settings, workload.concurrency)

    shared = cost(shape, with_sharing(True), intensity).terms
    own = cost(shape, with_sharing(False), intensity).terms
    assert all(shared[name] <= own[name] * (1 + 1e-9) for name in TERMS)
    assert kv_bytes_peak(shape, with_sharing(True)) <= kv_bytes_peak(shape, with_sharing(False))


@given(shapes, st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 64), st.booleans(), st.booleans())
def test_a_budget_that_covers_everything_costs_what_dense_does(shape, prompt, output, samples, share, blocks):
    everything = prompt + output
    sparse = BlockTopK(0, 16, math.ceil(everything / 16)) if blocks else TopK(everything)
    costs = [
        cost(shape, Workload(prompt, output, samples, attention, share), 300)
        for attention in (sparse, Dense())
    ]
    assert costs[0].terms == pytest.approx(costs[1].terms)


@given(shapes, workloads, st.integers(1, 20))
def test_more_samples_or_tokens_never_cost_less(shape, workload, more):
    size = (workload.prompt_tokens, workload.output_tokens, workload.samples)
    rest = (workload.attention, workload.share_prompt, workload.concurrency)
    base = cost(shape, workload, 300).total
    for grown in (
        Workload(size[0], size[1] + more, size[2], *rest),
        Workload(size[0], size[1], size[2] + more, *rest),
    ):
        assert cost(shape, grown, 300).total >= base * (1 - 1e-9)


@given(shapes, workloads, st.integers(0, 10_000))
def test_decoding_in_two_parts_costs_what_it_does_in_one(shape, workload, cut):
    for run in workload.runs():
        cut = min(cut, int(run.steps))
        parts = (Run(run.paths, run.first, cut), Run(run.paths, run.first + cut, run.steps - cut))
        found = [decode_work(shape, workload, part) for part in (*parts, run)]
        for name, amount in found[2].items():
            assert found[0][name] + found[1][name] == pytest.approx(amount, rel=1e-9)


@given(shapes, workloads, st.integers(1, 8))
def test_depths_of_constant_width_cost_what_samples_do(shape, workload, depths):
    assume(workload.output_tokens % depths == 0 and workload.output_tokens)
    tree = Workload.search(
        workload.prompt_tokens,
        [Depth(workload.samples, workload.output_tokens / depths)] * depths,
        attention=workload.attention,
        share_prompt=workload.share_prompt,
        concurrency=workload.concurrency,
    )
    assert cost(shape, tree, 300).terms == pytest.approx(cost(shape, workload, 300).terms)
    assert kv_bytes_peak(shape, tree) == pytest.approx(kv_bytes_peak(shape, workload))


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(0, 3000), st.integers(0, 200))
def test_a_capped_sum_is_the_sum(start, slope, cap, steps):
    expected = sum(min(cap, start + slope * i) for i in range(steps))
    assert capped_sum(start, slope, cap, steps) == expected


@settings(deadline=None)
@given(
    st.integers(0, 300),
    st.integers(1, 200),
    st.integers(1, 9),
    attentions,
    st.booleans(),
    st.integers(1, 400),
)
def test_decoding_is_counted_step_by_step(prompt, output, samples, attention, share, window):
    shape = ModelShape(1000, 1000, 2, 4, 2, 8, sliding_window=window, sliding_layers=1)
    attended = read = compared = blocks = 0
    budget = math.inf if isinstance(attention, Dense) else attention.budget
    for step in range(1, output):
        there = prompt + samples * step if share else math.inf
        for most in (budget, min(budget, window)):
            each = min(most, prompt + step)
            attended += samples * each
            read += min(samples * each, there)
        if isinstance(attention, BlockTopK) and prompt + step > budget:
            each = math.ceil((prompt + step) / attention.block_size)
            full = prompt // attention.block_size if share else 0
            compared += samples * each
            blocks += full + samples * (each - full)
    terms = cost(shape, Workload(prompt, output, samples, attention, share), 1).terms
    assert terms["attention"] == pytest.approx(128 * attended)
    assert terms["kv_reads"] == pytest.approx(64 * read)
    assert terms["block_search"] == pytest.approx(64 * compared)
    assert terms["block_search_reads"] == pytest.approx(32 * blocks)
