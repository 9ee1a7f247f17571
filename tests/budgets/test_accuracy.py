from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.accuracy import beta_coverage, pass_at_k, pass_until
from tests.reference import cases


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "pass_at_k"))
def test_pass_at_k_agrees_with_exact_integers(inputs, outputs):
    assert pass_at_k(inputs["n"], inputs["c"], inputs["k"]) == pytest.approx(
        outputs["pass_at_k"], rel=1e-12, abs=1e-15
    )


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "pass_until"))
def test_pass_until_agrees_with_the_reference(inputs, outputs):
    draws = outputs.get("K", inputs.get("K"))
    if "outcomes" in inputs and sum(inputs["outcomes"]) < inputs["r"]:
        assert outputs["estimate"] is None
        return
    assert pass_until(inputs["r"], draws) == pytest.approx(outputs["estimate"])


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(case):
    n, c, k = case
    subsets = list(combinations(range(n), k))
    share = Fraction(sum(any(i < c for i in subset) for subset in subsets), len(subsets))
    assert pass_at_k(n, c, k) == pytest.approx(float(share))


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)])
def test_pass_at_k_refuses_what_is_not_defined(n, c, k):
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(("r", "k"), [(0, 1), (2, 1)])
def test_pass_until_refuses_what_no_inverse_sampling_gives(r, k):
    with pytest.raises(ValueError, match="no end"):
        pass_until(r, k)


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "beta_coverage"))
def test_coverage_agrees_with_the_reference(inputs, outputs):
    found = beta_coverage(inputs["a"], inputs["b"], inputs["N"])
    assert found == pytest.approx(outputs["coverage"], rel=1e-9)
    assert 1 - found == pytest.approx(outputs["fail"], abs=1e-12)


def test_coverage_of_very_many_samples_goes_on_where_the_sum_ends():
    assert beta_coverage(0.2, 3.0, 100_001) == pytest.approx(beta_coverage(0.2, 3.0, 100_000), abs=1e-6)


@pytest.mark.parametrize(("a", "b", "samples"), [(0.0, 1.0, 1), (1.0, float("nan"), 1), (1.0, 1.0, -1)])
def test_coverage_refuses_what_is_no_beta(a, b, samples):
    with pytest.raises(ValueError, match="must be above 0"):
        beta_coverage(a, b, samples)
