import math

import numpy as np
import pytest

from budgets.cutting import alikeness, cut
from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit
from budgets.lengths import LogNormal, reach

LENGTHS = LogNormal(5.0, 0.5)
FIT = DifficultyFit(Beta(2.0, 3.0), ((0.01, 0.0), (0.0, 0.02)))


def drawn(alike, problems=4000, samples=8, seed=1):
    """Log lengths of (problems, samples)."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((problems, 1)) * math.sqrt(alike)
    return 5.0 + 0.5 * (own + math.sqrt(1 - alike) * rng.standard_normal((problems, samples)))


def test_where_problems_are_alike_in_length_a_cap_is_a_matter_of_chance():
    left = cut(LENGTHS, LogNormal(5.3, 0.4), 0.0, 150)
    expected = reach(LENGTHS, LogNormal(5.3, 0.4), 150)
    assert left.solvable == pytest.approx(1)
    assert (left.right, left.wrong) == (pytest.approx(expected.right), pytest.approx(expected.wrong))
    assert left.difficulty(FIT) == FIT


def test_where_each_problem_has_its_own_length_a_cap_loses_problems():
    left = cut(LENGTHS, LENGTHS, 1.0, 150)
    assert left.solvable == pytest.approx(float(LENGTHS.finished(150)), abs=0.01)
    assert (left.right, left.wrong) == pytest.approx((1, 1), abs=0.01)


@pytest.mark.parametrize("alike", [0.2, 0.6, 0.95])
def test_one_sample_is_as_often_right_as_with_drawn_lengths_and_so_are_two(alike):
    rng = np.random.default_rng(2)
    right = rng.random((40_000, 2)) < rng.beta(2, 3, (40_000, 1))
    right &= drawn(alike, 40_000, 2) <= math.log(150)
    left = cut(LENGTHS, LENGTHS, alike, 150)
    p = left.difficulty(FIT).beta
    square = p.a * (p.a + 1) / ((p.a + p.b) * (p.a + p.b + 1))
    assert p.mean * left.right == pytest.approx(right.mean(), abs=0.008)
    assert square * left.right**2 == pytest.approx(right.all(axis=1).mean(), abs=0.008)


def test_relative_to_the_cap_of_the_fit_and_never_more_than_at_it():
    for cap in (200, 4000):
        left = cut(LENGTHS, LENGTHS, 0.5, cap, fitted_at=200)
        assert (left.solvable, left.right, left.wrong) == pytest.approx((1, 1, 1))
    half = cut(LENGTHS, LENGTHS, 0.5, 100, fitted_at=200)
    share = float(LENGTHS.finished(100) / LENGTHS.finished(200))
    assert half.solvable * half.right == pytest.approx(share, abs=0.01)


def test_a_cap_that_nothing_reaches_leaves_nothing():
    left = cut(LENGTHS, LENGTHS, 0.5, 1)
    assert (left.right, left.wrong) == (0, 0)
    assert left.difficulty(FIT) == FIT
    with pytest.raises(ValueError, match="above 0"):
        cut(LENGTHS, LENGTHS, 0.5, 0)


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.9])
def test_how_alike_a_problems_responses_are_is_found(alike):
    lengths = np.exp(drawn(alike, 300))
    pairs = [(row[:3].tolist(), (2 * row[3:]).tolist()) for row in lengths]
    assert alikeness(pairs) == pytest.approx(alike, abs=0.06)


def test_without_two_responses_to_a_problem_nothing_is_known():
    assert alikeness([([10.0], []), ([], [20.0])]) == 0.5
    assert alikeness([([10.0, 10.0], [])]) == 0.5
