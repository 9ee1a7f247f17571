import math

import pytest

from budgets.hardware import HARDWARE, Hardware, find_hardware, measure_cpu


def test_the_rates_are_dense_ones_and_fp8_is_twice_bf16():
    assert set(HARDWARE) == {
        *("a100-sxm", "h100-sxm", "h100-pcie", "h200", "b200", "l40s", "l4", "mi300x", "tpu-v5e"),
    }
    for one in HARDWARE.values():
        assert one.name in HARDWARE
        if one.fp8_flops is not None:
            assert one.fp8_flops == pytest.approx(2 * one.flops, rel=0.02)
    assert {name for name, one in HARDWARE.items() if one.fp8_flops is None} == {"a100-sxm", "tpu-v5e"}


@pytest.mark.parametrize(
    ("name", "intensity"),
    [
        ("a100-sxm", 153.0),
        ("h100-sxm", 295.4),
        ("h200", 206.1),
        ("b200", 281.25),
        ("l4", 403.3),
        ("mi300x", 246.7),
    ],
)
def test_arithmetic_intensity_is_flop_per_byte(name, intensity):
    assert HARDWARE[name].arithmetic_intensity == pytest.approx(intensity, rel=1e-3)


def test_weights_of_a_byte_are_multiplied_at_the_fp8_rate_where_there_is_one():
    assert HARDWARE["h100-sxm"].flops_at(1) == 1979e12
    assert HARDWARE["h100-sxm"].flops_at(2) == 989.5e12
    assert HARDWARE["a100-sxm"].flops_at(1) == 312e12


def test_several_accelerators_have_the_sum_of_all_and_the_same_intensity():
    one, four = HARDWARE["h100-sxm"], HARDWARE["h100-sxm"].times(4)
    assert (four.flops, four.memory_bytes, four.fp8_flops) == (4 * one.flops, 320e9, 4 * one.fp8_flops)
    assert four.arithmetic_intensity == one.arithmetic_intensity
    for count in (0, 1.5, True, math.nan):
        with pytest.raises(ValueError, match="accelerators"):
            one.times(count)


def test_this_machine_is_measured_once_and_plausible():
    measured = find_hardware("cpu")
    assert measured is measure_cpu()
    assert 1e8 < measured.flops < 1e15
    assert 1e7 < measured.bytes_per_second < 1e14
    assert measured.memory_bytes > 1e8
    assert (measured.overlaps, measured.block_tokens) == (False, 32)


def test_an_unknown_name_is_answered_with_those_that_exist():
    with pytest.raises(
        ValueError, match=r"hardware 'h1000' is not known: name one of a100-sxm, .*cpu.*h100-sxm"
    ):
        find_hardware("h1000")
    with pytest.raises(ValueError, match=r"^.{0,400}$"):
        find_hardware("x" * 10**6)


@pytest.mark.parametrize("field", ["flops", "bytes_per_second", "memory_bytes", "fp8_flops"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "1e15", 10**400])
def test_rates_that_are_none_are_refused_by_name(field, value):
    numbers = {"flops": 1e12, "bytes_per_second": 1e11, "memory_bytes": 1e10} | {field: value}
    with pytest.raises(ValueError, match=f"^{field} must be a number above 0"):
        Hardware("mine", **numbers)


@pytest.mark.parametrize("value", [0, -16, 16.5, math.nan, "16"])
def test_a_block_that_is_no_number_of_tokens_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^block_tokens must be"):
        Hardware("mine", 1e12, 1e11, 1e10, block_tokens=value)
