import numpy as np
import pytest

from budgets.difficulty import Beta, Point
from budgets.first_accepted import best_most, ceiling, first_accepted, utilities
from budgets.verifier_quality import Rates
from tests.reference import cases


def check(difficulty, inputs, outputs, tolerance):
    rates = Rates(inputs["t"], inputs["f"])
    found = first_accepted(difficulty, rates, inputs["K"])
    expected = [outputs[name] for name in ("p_pass", "p_correct", "p_wrong", "expected_samples")]
    seen = [found.accepted, found.right, found.wrong, found.expected_samples]
    assert seen == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert found.ceiling == pytest.approx(outputs["limit_accuracy"], abs=tolerance)
    for optimum in outputs["optima"]:
        best = best_most(difficulty, rates, optimum["c"], optimum["s"])
        assert best.utility == pytest.approx(optimum["best_utility"], abs=tolerance)
        least, most = optimum["acceptable_K"]
        assert least <= best.samples <= most


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "verifier"))
def test_one_problem_agrees_with_the_reference(inputs, outputs):
    check(Point(inputs["p"]), inputs, outputs, 1e-9)


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "verifier_beta"))
def test_many_problems_agree_with_the_reference(inputs, outputs):
    difficulty = Beta(inputs["a"], inputs["b"])
    check(difficulty, inputs, outputs, 1e-6)
    found = first_accepted(difficulty, Rates(inputs["t"], inputs["f"]), inputs["K"])
    assert found.accuracy == pytest.approx(outputs["accuracy_among_passed"], abs=1e-6)


def test_false_positives_bound_the_accuracy_and_make_a_finite_number_best():
    difficulty, rates = Beta(0.5, 1.0), Rates(0.9, 0.1)
    accuracies = [first_accepted(difficulty, rates, most).accuracy for most in (1, 8, 64, 4096)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[-1] == pytest.approx(ceiling(difficulty, rates), abs=1e-3)
    best = best_most(difficulty, rates, wrong_answer_cost=1.0)
    assert 0 < best.samples < 50
    assert best.utility == utilities(difficulty, rates, 60, 1.0).max()


def test_it_agrees_with_drawn_problems():
    rng = np.random.default_rng(4)
    p = rng.beta(0.5, 1.5, 40_000)
    right = rng.random((40_000, 6)) < p[:, None]
    accepts = rng.random(right.shape) < np.where(right, 0.8, 0.15)
    place = np.where(accepts.any(axis=1), accepts.argmax(axis=1), 5)
    found = first_accepted(Beta(0.5, 1.5), Rates(0.8, 0.15), 6)
    rows = np.arange(40_000)
    assert np.mean(accepts[rows, place]) == pytest.approx(found.accepted, abs=0.01)
    assert np.mean((accepts & right)[rows, place]) == pytest.approx(found.right, abs=0.01)
    assert np.mean(place + 1) == pytest.approx(found.expected_samples, abs=0.04)


def test_nothing_accepted_has_no_accuracy():
    found = first_accepted(Point(0.0), Rates(0.9, 0.0), 5)
    assert (found.accuracy, found.ceiling, found.expected_samples) == (None, None, 5)
    assert ceiling(Beta(1, 1), Rates(0.0, 0.0)) is None


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="most is 0"):
        first_accepted(Point(0.5), Rates(1, 0), 0)
    with pytest.raises(ValueError, match="wrong_answer_cost"):
        utilities(Point(0.5), Rates(1, 0), 3, float("nan"))
