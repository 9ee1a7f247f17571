import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.accuracy import beta_coverage
from budgets.difficulty import Beta, Point, expectation

numbers = st.floats(0.02, 300, allow_nan=False)


@settings(max_examples=60)
@given(numbers, numbers, st.sampled_from([1, 2, 7, 64, 1000]))
def test_expectations_of_powers_agree_with_the_closed_form(a, b, samples):
    found = expectation(Beta(a, b), lambda p: 1 - (1 - p) ** samples)
    assert float(found) == pytest.approx(beta_coverage(a, b, samples), abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.7, 1.3), (40.0, 3.0), (5e4, 5e4)])
def test_weights_add_up_to_one_and_give_the_moments(a, b):
    p, weights = Beta(a, b).nodes()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights @ p == pytest.approx(a / (a + b), abs=1e-12)
    assert weights @ p**2 == pytest.approx(a * (a + 1) / (a + b) / (a + b + 1), abs=1e-10)


def test_a_probe_moves_the_belief_by_its_counts():
    assert Beta(0.5, 1.5).given(3, 4) == Beta(3.5, 2.5)
    with pytest.raises(ValueError, match="5 of 4"):
        Beta(1, 1).given(5, 4)


def test_a_point_is_itself():
    assert float(expectation(Point(0.3), lambda p: p * p)) == pytest.approx(0.09)
    assert Point(0.3).mean == 0.3
    assert Beta(1, 3).mean == 0.25


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_are_no_beta_are_refused(value):
    with pytest.raises(ValueError, match="a of Beta"):
        Beta(value, 1.0)
    if value:
        with pytest.raises(ValueError, match="p is"):
            Point(value)


def test_expectations_keep_further_axes():
    found = expectation(Beta(2, 2), lambda p: np.stack([p, 1 - p], axis=1))
    assert found == pytest.approx([0.5, 0.5])
