import numpy as np
import pytest

from budgets.difficulty import Beta
from budgets.prediction import Options, Task, expected_accuracy
from budgets.stopping import best_temperature, lead_needed, lead_vote, saturation_point, verifier_worth
from budgets.verifier_quality import Binormal
from budgets.wrong_answers import WrongAnswers
from tests.reference import cases


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "ttspm"))
def test_saturation_agrees_with_the_reference(inputs, outputs):
    assert saturation_point(inputs["F_max"], inputs["p"], inputs["eps"]) == outputs["n_star"]


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "maker"))
def test_lead_votes_agree_with_the_reference(inputs, outputs):
    found = lead_vote(inputs["p"], inputs["k"])
    assert found.accuracy == pytest.approx(outputs["p_correct"], rel=1e-9)
    assert found.expected_draws == pytest.approx(outputs["expected_draws"], rel=1e-9)


@pytest.mark.parametrize(("inputs", "outputs"), cases("accuracy.json", "maker_k_min"))
def test_the_lead_needed_agrees_with_the_reference(inputs, outputs):
    assert lead_needed(inputs["p"], inputs["target"], inputs["steps"]) == outputs["k_min"]


def test_a_judge_that_is_fooled_now_and_then_is_best_followed_softly():
    fooled = Task(Beta(2, 2), WrongAnswers(4.0), Binormal(0.5, -0.5, 0.3, 3.0))
    best = best_temperature(fooled, 32)
    assert best > 0.01
    at = {
        t: expected_accuracy("best_of_n", fooled, [32], Options(select="softmax", temperature=t))[0]
        for t in (best / 3, best, best * 3)
    }
    assert max(at, key=at.get) == best
    assert at[best] > expected_accuracy("best_of_n", fooled, [32])[0]


def test_an_honest_judge_is_followed_to_the_letter():
    assert best_temperature(Task(Beta(2, 2), WrongAnswers(4.0), Binormal.of_auc(0.8)), 16) < 0.02


def test_a_verifier_is_worth_its_cost_where_it_is_good_and_cheap():
    good = Task(Beta(1, 2), WrongAnswers(2.0), Binormal.of_auc(0.95))
    poor = Task(Beta(1, 2), WrongAnswers(2.0), Binormal.of_auc(0.55))
    assert all(found.worth_it for found in verifier_worth(good, [8, 64], 0.1))
    assert not any(found.worth_it for found in verifier_worth(poor, [8, 64], 4.0))
    found = verifier_worth(good, [10], 1.0)[0]
    assert (found.samples, found.verified_samples) == (10, 5)
    assert found.without == pytest.approx(expected_accuracy("majority", good, [10])[0])


def test_bad_numbers_are_refused():
    nan = float("nan")
    for call, name in (
        (lambda: saturation_point(1.5, 0.5, 0.1), "ceiling"),
        (lambda: saturation_point(0.5, 0.5, 0.0), "least_gain"),
        (lambda: lead_vote(nan, 1), "p is"),
        (lambda: lead_needed(0.5, 0.9), "above 0.5"),
        (lambda: verifier_worth(Task(Beta(1, 1), WrongAnswers(1.0)), [4], nan), "relative_cost"),
    ):
        with pytest.raises(ValueError, match=name):
            call()


def test_the_lead_vote_agrees_with_drawn_walks():
    rng = np.random.default_rng(2)
    steps = np.where(rng.random((20_000, 400)) < 0.6, 1, -1).cumsum(axis=1)
    end = (np.abs(steps) >= 3).argmax(axis=1)
    found = lead_vote(0.6, 3)
    assert np.mean(steps[np.arange(20_000), end] > 0) == pytest.approx(found.accuracy, abs=0.012)
    assert np.mean(end + 1) == pytest.approx(found.expected_draws, rel=0.02)
