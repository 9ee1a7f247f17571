import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit, VerifierFit, WrongAnswersFit
from budgets.futures import Futures, Rule, _Ballot, rules
from budgets.posterior import Evidence, posterior
from budgets.prediction import Options, expected_accuracy
from budgets.uncertainty import FittedTask
from budgets.verifier_quality import Binormal, Empirical
from budgets.wrong_answers import WrongAnswers

MIXED = Beta(0.8, 1.0)
WRONG = WrongAnswers.even(12, 0.6)


def fitted(wrong=WRONG, verifier=True, reach=(1.0, 1.0)):
    model = Binormal.of_auc(0.8)
    fit = VerifierFit(Empirical((0.5,), (0.5,)), model, 0.8, 0.01, True) if verifier else None
    difficulty = DifficultyFit(MIXED, ((0.01, 0.0), (0.0, 0.01)))
    return FittedTask(difficulty, WrongAnswersFit(wrong, 0.1), fit, *reach)


@pytest.mark.parametrize("rule", rules(verifier=True, k=1), ids=str)
def test_futures_of_nothing_seen_are_as_right_as_the_task_is(rule):
    task = fitted()
    futures = Futures(task, Evidence(()), 16, verifier=True, rows=20_000)
    for samples in (1, 4, 16):
        expected = float(expected_accuracy(rule.strategy, task.task, [samples], rule.options)[0])
        assert float(futures.after(samples).selected(rule).mean()) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("wrong", [WRONG, WrongAnswers(3.0, 0.4), WrongAnswers(0.5)])
def test_today_s_chances_are_on_average_those_of_the_future(wrong):
    """The posterior is a martingale: what each answer's chance will be is expected to be what it is."""
    task, evidence = fitted(wrong=wrong), Evidence((3, 1, 1), ((0.6, 0.4, None), (0.8,), (0.3,)))
    ahead = Futures(task, evidence, 12, verifier=True, rows=20_000).after(12)
    assert ahead.weight[:, 1:4].mean(axis=0) == pytest.approx(posterior(task, evidence).right, abs=0.01)


def test_several_answers_are_right_as_often_as_predicted():
    task, options = fitted(), Options(k=3)
    futures = Futures(task, Evidence(()), 8, verifier=True, rows=20_000)
    for rule in (Rule("majority", options), Rule("best_of_n", options)):
        expected = float(expected_accuracy(rule.strategy, task.task, [8], options)[0])
        assert float(futures.after(8).selected(rule).mean()) == pytest.approx(expected, abs=0.015)
    assert futures.after(8).likeliest(3).mean() > futures.after(8).likeliest(1).mean()


def test_samples_that_end_without_an_answer_are_missed():
    task = fitted(reach=(0.9, 0.5))
    futures = Futures(task, Evidence(()), 8, verifier=True, rows=20_000)
    for rule in rules(verifier=True, k=1):
        expected = float(expected_accuracy(rule.strategy, task.task, [8], rule.options)[0])
        assert float(futures.after(8).selected(rule).mean()) == pytest.approx(expected, abs=0.015)


def test_what_selects_by_the_posterior_is_right_more_often_than_any_rule():
    ahead = Futures(fitted(), Evidence(()), 16, verifier=True, rows=4_000).after(16)
    best = ahead.likeliest(1)
    assert all((best >= ahead.selected(rule) - 1e-12).all() for rule in rules(verifier=True, k=1))


def test_the_same_futures_each_time_and_today_s_chances_before_them():
    evidence = Evidence((2, 1), ((0.6, 0.4), (0.8,)), silent=1)
    futures = Futures(fitted(), evidence, 8, verifier=True, rows=50)
    assert np.array_equal(
        futures.after(8).weight, Futures(fitted(), evidence, 8, verifier=True, rows=50).after(8).weight
    )
    assert futures.after(0).weight[:, 1:3] == pytest.approx(
        np.tile(posterior(fitted(), evidence).right, (50, 1))
    )


def test_without_a_verifier_scores_to_come_are_none():
    futures = Futures(fitted(), Evidence((2, 1)), 6, verifier=False, rows=2_000)
    blind = Futures(fitted(verifier=False), Evidence((2, 1)), 6, verifier=False, rows=2_000)
    assert np.array_equal(futures.after(6).weight, blind.after(6).weight)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 128), st.integers(1, 40), st.integers(0, 99))
def test_best_of_n_takes_each_answer_once(k, samples, seed):
    rng = np.random.default_rng(seed)
    columns, scores = rng.integers(0, 9, (5, samples)), rng.random((5, samples))
    ballot = _Ballot(columns, scores, np.zeros((5, 9)), samples, logits=False)
    chosen = ballot.chosen(Rule("best_of_n", Options(k=k)))
    for row, kept in enumerate(chosen):
        scored = np.where(columns[row] == 0, -np.inf, scores[row])
        best = columns[row, np.argsort(-scored, kind="stable")[:k]]
        assert [one for one in kept if one] == [one for one in dict.fromkeys(best.tolist()) if one]
