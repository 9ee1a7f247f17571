from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import expit

from budgets.difficulty import Beta
from budgets.fitting import fit_difficulty, fit_verifier, fit_wrong_answers
from budgets.prediction import Options, Task, expected_accuracy
from budgets.uncertainty import FittedTask, accuracies
from budgets.verifier_quality import Binormal
from budgets.wrong_answers import WrongAnswers

SAMPLES = [1, 4, 16]
STRATEGIES = [
    ("majority", Options()),
    ("best_of_n", Options()),
    ("best_of_n", Options(select="weighted")),
    ("best_of_majority", Options()),
    ("repeated_sampling", Options()),
]
TRUTH = Task(Beta(0.7, 1.3), WrongAnswers.even(12, 0.5), Binormal(0.7, -0.7))


@cache
def fitted(seed, problems=200, hacked=0.0):
    rng = np.random.default_rng(seed)
    right = rng.binomial(16, rng.beta(0.7, 1.3, problems))
    shares = rng.dirichlet(np.full(12, 0.5), problems)
    counts = [rng.multinomial(16 - r, row) for r, row in zip(right, shares, strict=True)]
    good = [expit(rng.normal(0.7, 1.0, r)).tolist() for r in right]
    poor = [
        expit(np.where(rng.random(16 - r) < hacked, 6.0, rng.normal(-0.7, 1.0, 16 - r))).tolist()
        for r in right
    ]
    return FittedTask(
        fit_difficulty(right.tolist(), [16] * problems),
        fit_wrong_answers([[int(c) for c in row if c] for row in counts]),
        fit_verifier(good, poor),
    )


@pytest.mark.parametrize(("strategy", "options"), STRATEGIES)
def test_intervals_cover_the_truth_about_as_often_as_they_say(strategy, options):
    fits = [fitted(seed) for seed in range(16)]
    truth = expected_accuracy(strategy, TRUTH, SAMPLES, options)
    found = [accuracies(strategy, fit, SAMPLES, options) for fit in fits]
    inside = np.mean([(each.low <= truth) & (truth <= each.high) for each in found])
    assert inside >= 0.75
    assert np.mean([each.high - each.low for each in found]) < 0.15


def test_more_problems_make_narrower_intervals_and_fresh_ones_wider():
    few, many = (accuracies("best_of_n", fitted(1, problems), SAMPLES) for problems in (50, 1000))
    assert np.all(many.high - many.low < few.high - few.low)
    fresh = accuracies("best_of_n", fitted(1, 1000), SAMPLES, problems=20)
    assert np.all(fresh.high - fresh.low > many.high - many.low)
    assert fresh.value == pytest.approx(many.value)


def test_scores_that_are_not_normal_predict_themselves():
    fit = fitted(2, hacked=0.1)
    assert fit.verifier is not None
    assert not fit.verifier.normal
    found = accuracies("best_of_n", fit, [1, 64])
    assert found.value[1] < found.value[0] + 0.05
    assert np.all((found.low < found.value) & (found.value < found.high))


def test_a_certain_check_has_no_part_in_the_interval():
    fit = replace(fitted(3), verifier=None)
    found = accuracies("repeated_sampling", fit, [64])
    assert found.low[0] < found.value[0] < found.high[0] < 1
    with pytest.raises(ValueError, match="problems is 0"):
        accuracies("majority", fit, [4], problems=0)
