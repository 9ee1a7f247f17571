from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from budgets.accuracy import beta_coverage
from budgets.difficulty import Beta, Point
from budgets.first_accepted import first_accepted
from budgets.prediction import Options, Task, expected_accuracy
from budgets.verifier_quality import CERTAIN, Binormal, Empirical, Rates
from budgets.wrong_answers import WrongAnswers

PROBLEMS = 6000
COUNTED = Empirical((0.9, 0.8, 0.8, 0.6, 0.3), (0.1, 0.2, 0.3, 0.3, 0.6, 0.8))
TASKS = {
    "binormal": (Task(Beta(0.7, 1.3), WrongAnswers(4.7), Binormal.of_auc(0.83)), Options()),
    "few answers, top 2": (
        Task(Beta(0.7, 1.3), WrongAnswers.even(24, 0.5), Binormal(0.7, -0.9, 1.5, 2.0)),
        Options(k=2, temperature=0.2, alpha=0.3),
    ),
    "ties, some cut": (Task(Beta(3, 9), WrongAnswers(1.5, 0.3), COUNTED, 0.9, 0.6), Options(temperature=0.1)),
    "accepts or not": (
        Task(Point(0.25), WrongAnswers(2.0), Rates(0.9, 0.2), 0.8, 0.9),
        Options(alpha=0.2, temperature=0.5),
    ),
}


def drawn(task, samples, seed=3):
    """Answers (0 is right, -1 none), and scores, of so many samples of each problem: (PROBLEMS, samples)."""
    rng = np.random.default_rng(seed)
    difficulty, wrong, quality = task.difficulty, task.wrong, task.verifier
    p = rng.beta(difficulty.a, difficulty.b, PROBLEMS) if isinstance(difficulty, Beta) else difficulty.p
    right = rng.random((PROBLEMS, samples)) < np.reshape(p, (-1, 1))
    if wrong.discount < 0:
        shares = rng.dirichlet(np.full(round(wrong.answers), -wrong.discount), PROBLEMS)
    else:
        order = np.arange(1, 301)
        sticks = rng.beta(1 - wrong.discount, wrong.concentration + wrong.discount * order, (PROBLEMS, 300))
        shares = sticks * np.cumprod(np.c_[np.ones(PROBLEMS), 1 - sticks[:, :-1]], axis=1)
    upto = np.cumsum(shares, axis=1)
    picks = np.array([np.searchsorted(row, rng.random(samples) * row[-1]) for row in upto])
    reached = rng.random(right.shape) < np.where(right, task.right_reach, task.wrong_reach)
    answers = np.where(reached, np.where(right, 0, 1 + picks), -1)
    if isinstance(quality, Binormal):
        mean = np.where(right, quality.mean_right, quality.mean_wrong)
        sd = np.where(right, quality.sd_right, quality.sd_wrong)
        scores = expit(mean + sd * rng.standard_normal(right.shape))
    elif isinstance(quality, Rates):
        scores = (rng.random(right.shape) < np.where(right, quality.tpr, quality.fpr)).astype(float)
    else:
        scores = np.where(
            right, rng.choice(quality.right, right.shape), rng.choice(quality.wrong, right.shape)
        )
    return answers, scores, rng


def simulated(strategy, task, options, samples):
    answers, scores, rng = drawn(task, samples)
    return np.mean(
        [
            solved(strategy, options, a[a >= 0], s[a >= 0], samples, rng)
            for a, s in zip(answers, scores, strict=True)
        ]
    )


def solved(strategy, options, answers, scores, samples, rng):
    if not len(answers):
        return False
    names, place, votes = np.unique(answers, return_inverse=True, return_counts=True)
    tie = 1e-9 * rng.random(max(len(names), len(scores)))
    if strategy == "majority":
        return first(names, votes + tie[: len(names)], options.k)
    if strategy == "best_of_majority":
        often = votes / samples >= options.alpha - 1e-12
        often = often if often.any() else votes == votes.max()
        mean = (np.bincount(place, scores) / votes + tie[: len(names)])[often]
        return first(names[often], mean, options.k)
    if options.select == "weighted":
        return first(names, np.bincount(place, scores) + tie[: len(names)], options.k)
    if options.select == "softmax":
        return first(answers, scores / options.temperature + rng.gumbel(size=len(scores)), options.k)
    accepted = np.flatnonzero(scores >= options.accept_at)
    if strategy == "repeated_sampling" and len(accepted):
        return answers[accepted[0]] == 0
    return first(answers, scores + tie[: len(scores)], options.k)


def first(answers, marks, k):
    return bool((answers[np.argsort(-marks)[:k]] == 0).any())


STRATEGIES = [
    ("majority", {}),
    ("best_of_n", {}),
    ("best_of_n", {"select": "softmax"}),
    ("best_of_n", {"select": "weighted"}),
    ("best_of_majority", {}),
    ("repeated_sampling", {"k": 1}),
]


@pytest.mark.parametrize(("strategy", "changes"), STRATEGIES)
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("samples", [3, 16, 40])
def test_predictions_agree_with_drawn_problems(name, strategy, changes, samples):
    task, options = TASKS[name]
    options = replace(options, **changes)
    found = float(expected_accuracy(strategy, task, [samples], options)[0])
    error = np.sqrt(found * (1 - found) / PROBLEMS)
    assert simulated(strategy, task, options, samples) == pytest.approx(found, abs=4 * error + 0.003)


@pytest.mark.parametrize(("strategy", "changes"), STRATEGIES)
def test_one_sample_is_right_as_often_as_samples_are(strategy, changes):
    for task, options in TASKS.values():
        mean = task.difficulty.mean * task.right_reach
        found = expected_accuracy(strategy, task, [1], replace(options, **changes))
        assert found == pytest.approx([mean], abs=1e-4)


def test_a_certain_check_gives_coverage():
    task = Task(Beta(0.3, 1.1), WrongAnswers(4.0), CERTAIN)
    expected = [beta_coverage(0.3, 1.1, n) for n in (1, 5, 100, 1000)]
    for strategy in ("best_of_n", "repeated_sampling"):
        assert expected_accuracy(strategy, task, [1, 5, 100, 1000]) == pytest.approx(expected, abs=1e-8)


def test_the_first_accepted_is_right_as_often_as_the_closed_form_says_and_the_rejected_add_to_it():
    task = Task(Beta(0.5, 1.5), WrongAnswers(4.0), Rates(0.7, 0.1))
    found = float(expected_accuracy("repeated_sampling", task, [8])[0])
    least = first_accepted(task.difficulty, Rates(0.7, 0.1), 8)
    assert least.right < found < least.right + 1 - least.accepted


def test_a_verifier_that_cannot_tell_makes_weights_votes_and_the_best_any():
    task = Task(Beta(2, 3), WrongAnswers(3.0), Binormal.of_auc(0.5))
    weighted = expected_accuracy("best_of_n", task, [9], Options(select="weighted"))
    assert weighted == pytest.approx(expected_accuracy("majority", task, [9]), abs=0.003)
    assert expected_accuracy("best_of_n", task, [9]) == pytest.approx([0.4], abs=1e-6)


def test_more_samples_of_answers_never_seen_twice_settle_every_vote():
    task = Task(Point(0.2), WrongAnswers(1e6))
    assert expected_accuracy("majority", task, [64])[0] > 0.99


def test_many_votes_are_predicted_as_the_most_that_are_counted():
    task = Task(Beta(2, 3), WrongAnswers(3.0))
    found = expected_accuracy("majority", task, [256, 5000])
    assert found[0] == found[1]


@pytest.mark.parametrize("samples", [24, 48])
def test_no_response_that_ends_is_no_answer(samples):
    task = Task(Beta(2, 2), WrongAnswers(3.0), Binormal.of_auc(0.8), right_reach=0.0, wrong_reach=0.0)
    for strategy, changes in STRATEGIES:
        assert expected_accuracy(strategy, task, [samples], Options(**changes)) == pytest.approx([0.0])


@pytest.mark.parametrize("k", [2, 4, 5, 128])
@pytest.mark.parametrize("samples", [3, 128, 129, 256])
def test_the_best_of_a_verifier_that_cannot_tell_are_any_k_samples(k, samples):
    task = Task(Beta(0.3, 2.0), WrongAnswers(3.0), Binormal.of_auc(0.5))
    found = expected_accuracy("best_of_n", task, [samples], Options(k=k))
    assert found == pytest.approx([beta_coverage(0.3, 2.0, min(k, samples))], abs=1e-6)


def test_bad_requests_are_refused():
    task = Task(Point(0.5), WrongAnswers(1.0))
    with pytest.raises(ValueError, match="beam_search"):
        expected_accuracy("beam_search", task, [1])
    with pytest.raises(ValueError, match="samples"):
        expected_accuracy("majority", task, [0])
    for bad in (
        {"k": 0},
        {"alpha": 2.0},
        {"temperature": 0.0},
        {"select": "best"},
        {"accept_at": float("nan")},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Options(**bad)
    with pytest.raises(ValueError, match="wrong_reach"):
        replace(task, wrong_reach=1.5)
