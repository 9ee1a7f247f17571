import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.hardware import HARDWARE
from budgets.kinetics import cost
from budgets.latency import Factors, seconds
from budgets.models import ModelShape
from budgets.tariff import Charge, Tariff
from budgets.workload import Workload

SHAPE = ModelShape(8.19e9, 7.57e9, num_layers=36, num_attention_heads=32, num_kv_heads=8, head_dim=128)
H100 = HARDWARE["h100-sxm"]
TARIFF = Tariff(SHAPE, H100, usd_per_hour=2.49, factors=Factors(prefill=2.0, decode=1.5))
WINDOWED = Tariff(
    ModelShape(
        4e9,
        4e9,
        num_layers=34,
        num_attention_heads=8,
        num_kv_heads=4,
        head_dim=256,
        sliding_layers=29,
        sliding_window=1024,
    ),
    HARDWARE["l4"],
    usd_per_hour=0.7,
    concurrency=4,
)

lengths = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 4000)), min_size=1, max_size=40)


def test_samples_of_one_length_cost_what_the_cost_law_and_the_roofline_say():
    workload = Workload(500, 1000, 16)
    charge = TARIFF.charge(500, [(16, 1000)])
    assert charge.eflops == pytest.approx(cost(SHAPE, workload, H100.arithmetic_intensity).total, rel=1e-12)
    assert charge.seconds == pytest.approx(seconds(SHAPE, H100, workload, TARIFF.factors), rel=1e-12)
    assert charge.usd == pytest.approx(charge.seconds * 2.49 / 3600, rel=1e-12)


def test_sequences_that_end_early_are_not_paid_for_after_that():
    long, mixed = TARIFF.charge(500, [(16, 1000)]), TARIFF.charge(500, [(8, 1000), (8, 10)])
    assert TARIFF.charge(500, [(8, 1000)]).eflops < mixed.eflops < long.eflops


def test_what_goes_on_from_generated_tokens_pays_for_no_prefill_and_attends_to_them():
    begun, whole = TARIFF.charge(500, [(4, 300)]), TARIFF.charge(500, [(4, 700)])
    continued = TARIFF.charge(500, [(4, 400)], past=300)
    assert continued.eflops == pytest.approx(whole.eflops - begun.eflops, rel=1e-9)


def test_a_decode_step_is_paid_for_by_all_requests_in_it():
    alone, shared = Tariff(SHAPE, H100, 3.6), Tariff(SHAPE, H100, 3.6, concurrency=8)
    assert shared.charge(500, [(4, 1000)]).usd < alone.charge(500, [(4, 1000)]).usd / 3
    assert shared.charge(500, [(4, 1000)]).seconds >= alone.charge(500, [(4, 1000)]).seconds


def test_without_a_price_nothing_is_charged_in_usd():
    assert Tariff(SHAPE, H100).charge(10, [(1, 10)]).usd == 0.0


def test_a_verifier_that_reads_pays_for_each_text_and_reads_its_weights_once():
    one, four = TARIFF.reading(800), TARIFF.reading(800, 4)
    assert one.eflops < four.eflops < 4 * one.eflops
    assert TARIFF.reading(800, 0) == Charge()
    assert TARIFF.reading(800, 4, 21).eflops > four.eflops


@given(st.sampled_from([TARIFF, WINDOWED]), lengths, st.integers(1, 3000), st.floats(0, 3000), st.data())
def test_fewer_or_shorter_sequences_never_cost_more(tariff, lengths, prompt, past, data):
    """So a call that was reserved in full is within its reservation, however it ends."""
    count, longest = sum(n for n, _ in lengths), max(t for _, t in lengths)
    most = tariff.charge(prompt, [(count, longest)], past=past)
    spent = tariff.charge(prompt, lengths, past=past)
    kept = data.draw(st.lists(st.sampled_from(lengths), min_size=1, max_size=len(lengths), unique_by=id))
    fewer = tariff.charge(prompt, [(n, t) for n, t in kept if (n, t) in lengths][: len(lengths)], past=past)
    for unit in ("eflops", "seconds", "usd"):
        assert 0 <= getattr(spent, unit) <= getattr(most, unit) * (1 + 1e-9)
        assert getattr(fewer, unit) <= getattr(most, unit) * (1 + 1e-9)
        assert math.isfinite(getattr(most, unit))


def test_many_different_lengths_cost_little_more_than_exactly():
    many = [(1, 100 + 10 * i) for i in range(64)]
    exact = sum(
        (
            TARIFF.charge(500, [(64 - i, 10 if i else 100)], past=0 if not i else 90 + 10 * i)
            for i in range(64)
        ),
        Charge(),
    )
    assert exact.eflops <= TARIFF.charge(500, many).eflops * (1 + 1e-9)
    assert TARIFF.charge(500, many).eflops < 1.1 * exact.eflops


def test_a_tariff_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="usd_per_hour"):
        Tariff(SHAPE, H100, -1.0)
    with pytest.raises(ValueError, match="concurrency"):
        Tariff(SHAPE, H100, concurrency=0.5)
