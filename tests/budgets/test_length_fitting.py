import numpy as np
import pytest

from budgets.length_fitting import fit_lengths, fit_power_law


def test_lengths_come_back_from_responses_of_which_many_were_cut():
    rng = np.random.default_rng(1)
    right, wrong = rng.lognormal(5.5, 0.5, 3000), rng.lognormal(6.0, 0.6, 2000)
    cap = 400
    cut = [cap] * int((right > cap).sum() + (wrong > cap).sum())
    fit = fit_lengths(right[right <= cap].tolist(), wrong[wrong <= cap].tolist(), cut)
    assert fit.right.mean == pytest.approx(5.5, abs=0.06)
    assert fit.wrong.mean == pytest.approx(6.0, abs=0.12)
    assert fit.right_share == pytest.approx(0.6, abs=0.05)
    assert fit.right_mean_sd < 0.02


def test_a_side_that_nobody_saw_is_like_the_other():
    fit = fit_lengths([90.0, 100.0, 110.0, 120.0], [])
    assert fit.wrong.mean == pytest.approx(fit.right.mean, abs=0.05)


def test_a_power_law_of_coverage_comes_back_with_its_error():
    rng = np.random.default_rng(2)
    right = rng.binomial(256, rng.beta(0.3, 3.0, 2000)).tolist()
    law = fit_power_law(right, [256] * 2000)
    assert law.a < 0
    assert law.b < 0
    assert law.error < 0.02
    assert law.coverage([1.0, 256.0]) == pytest.approx(
        [np.mean(right) / 256, np.mean(np.array(right) > 0)], abs=0.03
    )


def test_bad_samples_are_refused():
    for call, name in (
        (lambda: fit_lengths([100.0], []), "two finished"),
        (lambda: fit_lengths([0.0, 1.0], []), "1 token"),
        (lambda: fit_power_law([0, 0], [4, 4]), "one right sample"),
        (lambda: fit_power_law([4, 4], [4, 4]), "unsolved"),
        (lambda: fit_power_law([1], [1]), "2 samples"),
    ):
        with pytest.raises(ValueError, match=name):
            call()
