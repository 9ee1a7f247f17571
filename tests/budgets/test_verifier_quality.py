import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from budgets.verifier_quality import CERTAIN, Binormal, Empirical, Rates

QUALITIES = [
    Binormal.of_auc(0.83),
    Binormal(0.4, -1.0, 0.5, 2.0),
    Empirical((0.9, 0.5, 0.5), (0.1, 0.5)),
    Rates(0.8, 0.3),
    CERTAIN,
]


@pytest.mark.parametrize("quality", QUALITIES, ids=str)
def test_grids_hold_all_of_both_scores_in_rising_order(quality):
    grid = quality.grid()
    for mass in (grid.right, grid.wrong):
        assert mass.sum() == pytest.approx(1, abs=1e-9)
    assert np.all(np.diff(grid.score) >= 0)
    for points in (grid, grid.spread(), grid.softened(0.5)):
        assert points.right.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("quality", QUALITIES, ids=str)
def test_the_auc_is_the_chance_that_right_beats_wrong(quality):
    grid = quality.grid().spread()
    assert grid.right @ grid.wrong_below == pytest.approx(quality.auc, abs=1e-6)


@pytest.mark.parametrize("quality", QUALITIES, ids=str)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_what_is_below_a_threshold_is_what_it_does_not_accept(quality, threshold):
    below, rates = quality.grid(threshold), quality.rates(threshold)
    assert below.right.sum() == pytest.approx(1 - rates.tpr, abs=1e-6)
    assert below.wrong.sum() == pytest.approx(1 - rates.fpr, abs=1e-6)


@pytest.mark.parametrize("quality", QUALITIES, ids=str)
def test_rounded_scores_keep_their_means(quality):
    grid, (right, wrong) = quality.grid(), quality.rounded(64)
    for mass, whole in ((right, grid.right), (wrong, grid.wrong)):
        assert mass.sum() == pytest.approx(1)
        assert mass @ np.arange(65) / 64 == pytest.approx(whole @ grid.score, abs=5e-3)


def test_scores_outside_the_unit_interval_are_rounded_through_a_sigmoid():
    right, _ = Empirical((2.0,), (-1.0,)).rounded(64)
    assert right[round(64 * expit(2.0))] == 1


def test_a_calibrated_score_of_given_auc():
    quality = Binormal.of_auc(0.9)
    assert quality.auc == pytest.approx(0.9)
    assert quality.mean_right - quality.mean_wrong == pytest.approx(quality.sd_right**2)
    assert Binormal.of_auc(0.2).auc == pytest.approx(0.2)
    assert Binormal.of_auc(0.5).auc == pytest.approx(0.5)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=300), st.lists(st.floats(-5, 5), min_size=1, max_size=300)
)
def test_measured_scores_of_any_kind_make_a_grid(right, wrong):
    grid = Empirical(tuple(right), tuple(wrong)).grid()
    assert len(grid.score) <= 128
    assert grid.right.sum() == pytest.approx(1)
    assert np.all(grid.wrong >= 0)


def test_bad_numbers_are_refused():
    for build, name in (
        (lambda: Rates(1.1, 0.0), "tpr"),
        (lambda: Rates(0.5, float("nan")), "fpr"),
        (lambda: Binormal.of_auc(1.0), "auc"),
        (lambda: Binormal(float("inf"), 0.0), "mean_right"),
        (lambda: Binormal(0.0, 0.0, 0.0), "sd_right"),
        (lambda: Empirical((), (0.1,)), "right"),
        (lambda: Empirical((0.1,), (float("nan"),)), "wrong"),
    ):
        with pytest.raises(ValueError, match=name):
            build()
