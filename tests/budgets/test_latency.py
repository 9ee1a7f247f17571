"""Roofline seconds, and the factors that are learned from measured calls."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.hardware import Hardware
from budgets.kinetics import COMPUTE_TERMS, MEMORY_TERMS, decode_work
from budgets.latency import (
    LEAST,
    MOST,
    Factors,
    decode_seconds,
    decode_step_seconds,
    prefill_seconds,
    seconds,
)
from budgets.models import ModelShape
from budgets.workload import BlockTopK, Dense, Run, TopK, Workload

SHAPE = ModelShape(1e9, 1e9, num_layers=16, num_attention_heads=16, num_kv_heads=4, head_dim=64)
WINDOWED = ModelShape(1e9, 1e9, 16, 16, 4, 64, sliding_window=300, sliding_layers=12)
MIXTURE = ModelShape(8e9, 1e9, 16, 16, 4, 64, num_experts=32, experts_per_token=4)
MACHINE = Hardware("machine", flops=1e14, bytes_per_second=1e12, memory_bytes=80e9)

requests = {
    "shape": st.sampled_from((SHAPE, WINDOWED, MIXTURE)),
    "prompt": st.integers(0, 1000),
    "output": st.integers(0, 200),
    "samples": st.integers(1, 500),
    "attention": st.sampled_from((Dense(), TopK(64), TopK(400), BlockTopK(32, 16, 8))),
    "share": st.booleans(),
}


def step_by_step(shape, hardware, workload):
    """Every step's longer of computing and reading, one by one."""
    total = 0.0
    for run in workload.runs():
        for i in range(int(run.steps)):
            work = decode_work(shape, workload, Run(run.paths, run.first + i, 1))
            compute = sum(work[name] for name in COMPUTE_TERMS if name in work) / hardware.flops
            memory = sum(work[name] for name in MEMORY_TERMS if name in work) / hardware.bytes_per_second
            total += workload.concurrency * max(compute, memory)
    return total


def test_a_step_of_one_sequence_is_the_reading_of_weights_and_kv():
    found = decode_step_seconds(SHAPE, MACHINE, sequences=1, context=1000)
    assert found == pytest.approx((2e9 + 1000 * SHAPE.kv_bytes_per_token) / 1e12)


def test_a_step_of_many_sequences_is_computing():
    found = decode_step_seconds(SHAPE, MACHINE, sequences=1000, context=10)
    assert found == pytest.approx(1000 * (2e9 + 10 * 16 * 4 * 16 * 64) / 1e14)


def test_a_prefix_that_all_share_is_read_once():
    alone = decode_step_seconds(SHAPE, MACHINE, sequences=8, context=5000)
    shared = decode_step_seconds(SHAPE, MACHINE, sequences=8, context=5000, shared_tokens=4000)
    assert alone - shared == pytest.approx(7 * 4000 * SHAPE.kv_bytes_per_token / 1e12)


def test_prefill_reads_the_weights_or_computes_whichever_is_longer():
    assert prefill_seconds(SHAPE, MACHINE, Workload(1, 1)) == pytest.approx(2e9 / 1e12)
    long = prefill_seconds(SHAPE, MACHINE, Workload(1000, 1))
    assert long == pytest.approx((1000 * 2e9 + 16 * 4 * 16 * 64 * 1000 * 1001 / 2) / 1e14)
    assert prefill_seconds(SHAPE, MACHINE, Workload(1000, 1, concurrency=8)) == long
    assert prefill_seconds(SHAPE, MACHINE, Workload(0, 0)) == 0


def test_samples_share_the_full_blocks_of_a_prompt_and_compute_the_rest_each():
    flop_a_token = 2e9 + 4 * 16 * 16 * 64 * 1000
    one, many = (prefill_seconds(SHAPE, MACHINE, Workload(1000, 1, samples)) for samples in (1, 101))
    assert many - one == pytest.approx(
        100 * 8 * flop_a_token / 1e14, rel=0.01
    )  # 1000 = 62 blocks of 16, and 8
    full = prefill_seconds(SHAPE, MACHINE, Workload(992, 1, 101))
    assert full - prefill_seconds(SHAPE, MACHINE, Workload(992, 1, 1)) == pytest.approx(
        2 * (many - one), rel=0.01
    )
    single = replace(MACHINE, block_tokens=1)
    assert prefill_seconds(SHAPE, single, Workload(1000, 1, 101)) - one == pytest.approx(
        100 * flop_a_token / 1e14, 0.01
    )


def test_paths_that_go_on_compute_the_end_of_what_they_hold():
    going_on = Workload(1000, 20, 50, cached_tokens=1000, past=107)
    assert prefill_seconds(SHAPE, MACHINE, going_on) == pytest.approx(
        50 * 3 * (2e9 + 65536 * 1107) / 1e14, rel=0.01
    )


def test_hardware_that_does_not_compute_while_it_reads_takes_the_sum_of_both():
    apart = replace(MACHINE, overlaps=False)
    step = decode_step_seconds(SHAPE, apart, sequences=64, context=1000)
    read, computed = 2e9 + 64 * 1000 * SHAPE.kv_bytes_per_token, 64 * (2e9 + 1000 * 65536)
    assert step == pytest.approx(read / 1e12 + computed / 1e14)
    assert prefill_seconds(SHAPE, apart, Workload(1, 1)) == pytest.approx((2e9 + 65536) / 1e14 + 2e9 / 1e12)
    workload = Workload(1000, 50, 64)
    both = [
        decode_seconds(SHAPE, replace(MACHINE, **{never: 1e18}), workload)
        for never in ("flops", "bytes_per_second")
    ]
    assert decode_seconds(SHAPE, apart, workload) == pytest.approx(sum(both), rel=1e-3)


@settings(deadline=None)
@given(**requests, concurrency=st.integers(1, 20))
def test_decoding_is_the_sum_of_its_steps(shape, prompt, output, samples, attention, share, concurrency):
    workload = Workload(prompt, output, samples, attention, share, concurrency)
    # Blocks come whole, so that a search's cost is only nearly a straight line.
    exact = 1e-3 if isinstance(attention, BlockTopK) else 1e-9
    assert decode_seconds(shape, MACHINE, workload) == pytest.approx(
        step_by_step(shape, MACHINE, workload), rel=exact
    )


@given(**requests)
def test_factors_of_one_are_the_roofline(shape, prompt, output, samples, attention, share):
    workload = Workload(prompt, output, samples, attention, share)
    roofline = prefill_seconds(shape, MACHINE, workload) + decode_seconds(shape, MACHINE, workload)
    assert seconds(shape, MACHINE, workload) == roofline
    doubled = seconds(shape, MACHINE, workload, Factors(prefill=2, decode=2))
    assert doubled == pytest.approx(2 * roofline)


@given(**requests, more=st.integers(1, 50))
def test_more_tokens_or_samples_never_take_less(shape, prompt, output, samples, attention, share, more):
    base = seconds(shape, MACHINE, Workload(prompt, output, samples, attention, share))
    for grown in (
        # By whole blocks: a prompt that fills its last one leaves more for each sample to compute than a longer one.
        Workload(prompt + MACHINE.block_tokens * more, output, samples, attention, share),
        Workload(prompt, output + more, samples, attention, share),
        Workload(prompt, output, samples + more, attention, share),
        Workload(prompt, output, samples, attention, share, concurrency=1 + more),
    ):
        assert seconds(shape, MACHINE, grown) >= base * (1 - 1e-4)


def test_a_lower_precision_is_computed_faster():
    fast = Hardware("fast", 1e14, 1e12, 80e9, fp8_flops=2e14)
    small = ModelShape(1e9, 1e9, 16, 16, 4, 64, weight_bytes=1)
    many = {"sequences": 10_000, "context": 1}
    assert decode_step_seconds(small, fast, **many) * 2 == decode_step_seconds(SHAPE, fast, **many)


def calls(seed, count, prefill, decode, *, noise=0.1, outliers=0.0):
    """Roofline seconds of varied calls, and what they took with those factors."""
    rng = random.Random(seed)
    for _ in range(count):
        roofline = rng.lognormvariate(-2, 1), rng.lognormvariate(-1, 1.2)
        took = (prefill * roofline[0] + decode * roofline[1]) * math.exp(rng.gauss(0, noise))
        yield *roofline, took * (20 if rng.random() < outliers else 1)


NEW = Factors()


def learned(measured, factors=NEW):
    for call in measured:
        factors = factors.observed(*call)
    return factors


@pytest.mark.parametrize("true", [(1, 1), (3, 8), (30, 2), (0.7, 50)])
def test_both_factors_are_found_in_forty_calls(true):
    errors = []
    for seed in range(10):
        factors = learned(calls(seed, 40, *true))
        for prefill, decode, took in calls(seed + 100, 40, *true, noise=0):
            errors.append(abs((factors.prefill * prefill + factors.decode * decode) / took - 1))
    assert sorted(errors)[len(errors) // 2] < 0.1


def test_outliers_do_not_carry_them_away():
    for seed in range(10):
        factors = learned(calls(seed, 60, 3, 8, outliers=0.1))
        assert factors.decode == pytest.approx(8, rel=0.3)


def test_a_cold_first_call_is_soon_forgotten():
    (first, *rest) = calls(1, 21, 3, 8)
    factors = learned([(*first[:2], 20 * first[2]), *rest])
    assert factors.decode == pytest.approx(8, rel=0.3)


def test_a_change_of_speed_is_followed():
    factors = learned(calls(2, 40, 3, 24), learned(calls(1, 60, 3, 8)))
    assert factors.decode == pytest.approx(24, rel=0.3)


def test_a_call_of_one_kind_leaves_the_other_factor_almost_alone():
    factors = learned([(0.0, 1.0, 5.0)] * 40)
    assert factors.decode == pytest.approx(5, rel=0.05)
    assert factors.prefill == 1


anything = st.one_of(st.floats(), st.floats(1e-9, 1e9), st.just(0.0))


@settings(deadline=None)
@given(st.lists(st.tuples(anything, anything, anything), max_size=60))
def test_whatever_is_measured_they_stay_in_bounds_and_can_be_kept(measured):
    factors = learned(measured)
    assert LEAST <= factors.prefill <= MOST
    assert LEAST <= factors.decode <= MOST
    prefill, both, decode = factors.variance
    assert min(prefill, decode) >= 0
    assert both**2 <= prefill * decode * (1 + 1e-6) + 1e-12
    assert Factors.from_dict(json.loads(json.dumps(factors.to_dict()))) == factors


@pytest.mark.parametrize("measured", [0.0, -1.0, math.nan, math.inf])
def test_a_measurement_that_can_be_none_changes_nothing(measured):
    factors = Factors()
    assert factors.observed(1.0, 1.0, measured) is factors
    assert factors.observed(0.0, 0.0, 1.0) is factors


@pytest.mark.parametrize(
    "change",
    [
        {"prefill": math.nan},
        {"decode": 0},
        {"decode": "8"},
        {"variance": [1, 2]},
        {"variance": 3},
        {"variance": [-1, 0, 1]},
        {"variance": [0, 0, 1]},
        {"variance": [0, -900, 0]},
        {"variance": [1, 1.01, 1]},
        {"variance": [1, math.nan, 1]},
        {"variance": [1000, 900, 1000]},
        {"spread": math.inf},
        {"spread": 0},
        {"calls": -1},
        {"more": 1},
    ],
)
def test_what_was_never_kept_is_refused(change):
    with pytest.raises(ValueError, match=r"latency factors|must be"):
        Factors.from_dict(Factors().to_dict() | change)


def test_hostile_contexts_are_refused_by_name():
    with pytest.raises(ValueError, match="context"):
        decode_step_seconds(SHAPE, MACHINE, sequences=1, context=math.nan)
    with pytest.raises(ValueError, match="shared_tokens"):
        decode_step_seconds(SHAPE, MACHINE, sequences=1, context=5, shared_tokens=6)
    with pytest.raises(ValueError, match="samples"):
        decode_step_seconds(SHAPE, MACHINE, sequences=0, context=5)
