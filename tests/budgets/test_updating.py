from dataclasses import replace

import numpy as np
import pytest

from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit
from budgets.prediction import expected_accuracy
from budgets.profiles import Profile
from budgets.updating import told

PRIOR = Profile.prior().fitted("orm")


def after(answers, strategy="repeated_sampling", samples=1):
    task = PRIOR
    for correct in answers:
        task = replace(task, difficulty=told(task, strategy, samples, correct))
    return task.difficulty


def test_right_and_wrong_move_an_even_prior_equally_far_to_either_side():
    up, down = after([True]), after([False])
    assert up.beta.mean > 0.5
    assert up.beta.mean == pytest.approx(1 - down.beta.mean, abs=1e-9)
    assert np.asarray(up.covariance)[0, 0] == pytest.approx(np.asarray(down.covariance)[0, 0])


@pytest.mark.parametrize("strategy", ["majority", "best_of_n", "best_of_majority", "repeated_sampling"])
@pytest.mark.parametrize("samples", [1, 16])
def test_what_is_told_makes_more_certain(strategy, samples):
    found = after([True, False, True, True], strategy, samples)
    assert found.covariance[0][0] < 0.6 * PRIOR.difficulty.covariance[0][0]
    assert np.linalg.det(found.covariance) < np.linalg.det(PRIOR.difficulty.covariance)


def test_a_failure_of_many_samples_tells_more_of_the_difficulty_than_one_of_one():
    assert after([False], "best_of_n", 64).beta.mean < after([False], "best_of_n", 1).beta.mean
    assert after([True], "best_of_n", 64).beta.mean < after([True], "best_of_n", 1).beta.mean


def test_thousands_of_answers_of_a_known_beta_find_its_mean():
    rng = np.random.default_rng(7)
    found = after(rng.random(2000) < rng.beta(0.6, 1.4, 2000), "majority")
    assert found.beta.mean == pytest.approx(0.3, abs=0.025)
    assert found.covariance[0][0] == pytest.approx(1 / (2000 * 0.3 * 0.7), rel=0.1)


def test_answers_of_many_samples_find_what_these_reach():
    rng = np.random.default_rng(9)
    found = after(rng.random(500) < 0.62, "best_of_n", 8)
    predicted = expected_accuracy("best_of_n", replace(PRIOR, difficulty=found).task, [8])[0]
    assert predicted == pytest.approx(0.62, abs=0.05)


def test_intervals_of_what_was_told_cover():
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(20):
        truth = rng.beta(2, 2)
        low, high = after(rng.random(30) < truth).mean_interval
        inside += low <= truth <= high
    assert inside >= 15


def test_what_cannot_be_is_bounded():
    sure = DifficultyFit(Beta(1e6, 1e-3), ((9.0, 0.0), (0.0, 9.0)))
    task = replace(PRIOR, difficulty=sure)
    for correct in (True, False) * 10:
        task = replace(task, difficulty=told(task, "best_of_n", 64, correct))
        assert np.linalg.eigvalsh(task.difficulty.covariance)[0] > 0
        assert min(task.difficulty.beta.a, task.difficulty.beta.b) >= 1e-3
