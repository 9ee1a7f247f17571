import numpy as np
import pytest

from budgets.difficulty import Beta
from budgets.fitting import fit_difficulty, fit_verifier, fit_wrong_answers, hanley_mcneil
from budgets.wrong_answers import WrongAnswers


def test_difficulty_comes_back_with_intervals_that_cover():
    rng = np.random.default_rng(1)
    inside, means = 0, []
    for _ in range(60):
        right = rng.binomial(16, rng.beta(0.7, 1.3, 200))
        fit = fit_difficulty(right.tolist(), [16] * 200)
        low, high = fit.mean_interval
        inside += low <= 0.35 <= high
        means.append((fit.beta.a, fit.beta.b))
    assert inside >= 47
    assert np.mean(means, axis=0) == pytest.approx([0.7, 1.3], rel=0.05)


@pytest.mark.parametrize("right", [[0] * 20, [8] * 20, [4] * 20, [0, 8] * 10])
def test_difficulty_stays_finite_where_the_likelihood_has_no_maximum(right):
    fit = fit_difficulty(right, [8] * 20)
    assert np.all(np.isfinite(fit.covariance))
    assert fit.beta.mean == pytest.approx(np.mean(right) / 8, abs=0.05)
    assert isinstance(fit.moved(2, 2), Beta)


def test_wrong_answers_come_back():
    rng = np.random.default_rng(2)
    for shares, truth in (
        (rng.dirichlet(np.full(6, 0.8), 400), WrongAnswers.even(6, 0.8)),
        (rng.dirichlet(np.full(400, 3 / 400), 400), WrongAnswers(3.0)),
    ):
        counts = [rng.multinomial(12, row) for row in shares]
        fit = fit_wrong_answers([[int(c) for c in row if c] for row in counts])
        assert fit.wrong.agreement == pytest.approx(truth.agreement, abs=0.03)
        assert fit.log_sd < 0.3
        assert fit.moved(fit.log_sd).agreement < fit.wrong.agreement


def test_no_wrong_answers_tell_nothing():
    fit = fit_wrong_answers([[], [1]])
    assert fit.wrong.agreement == pytest.approx(0.2, abs=0.01)
    assert fit.log_sd > 2


def test_verifiers_are_judged_within_problems():
    rng = np.random.default_rng(3)
    ease = rng.normal(0, 5, 300)
    right = [(e + 1 + rng.standard_normal(rng.integers(0, 6))).tolist() for e in ease]
    wrong = [(e + rng.standard_normal(rng.integers(1, 6))).tolist() for e in ease]
    fit = fit_verifier(right, wrong)
    low, high = fit.auc_interval
    assert low < 0.760 < high
    assert fit.binormal.auc == pytest.approx(fit.auc)
    assert fit.empirical.auc < fit.auc


def split(scores):
    return np.split(scores, 20)


def test_scores_that_are_not_normal_are_noticed():
    rng = np.random.default_rng(4)
    normal = rng.normal(1, 1, 2000)
    assert fit_verifier(split(normal), split(np.round(normal, 1))).normal
    hacked = np.where(rng.random(2000) < 0.05, 4, 0) + rng.normal(0, 1, 2000)
    for other in (hacked, rng.integers(0, 2, 2000), rng.random(2000) < 0.2, rng.exponential(1, 2000)):
        fit = fit_verifier(split(normal), split(other.astype(float)))
        assert not fit.normal
        assert len(fit.parts) == 5


def test_scores_that_are_normal_pass_for_it_nearly_always():
    rng = np.random.default_rng(6)
    kinds = [
        fit_verifier(split(rng.normal(0, 1, size)), split(rng.normal(0, 1, size))).normal
        for size in (40, 400, 4000)
        for _ in range(100)
    ]
    assert np.mean(kinds) > 0.97


def test_one_problem_with_both_kinds_has_the_error_of_all_its_pairs():
    fit = fit_verifier([[0.9, 0.8]], [[0.1, 0.85]])
    assert fit.auc == pytest.approx((4 * 0.75 + 2 * 0.5) / 6)
    assert fit.auc_sd == pytest.approx(hanley_mcneil(fit.auc, 2, 2))


def test_next_to_nothing_leaves_the_auc_next_to_unknown():
    pair = fit_verifier([[0.9], []], [[], [0.1]])
    assert pair.auc == pytest.approx(2 / 3)
    low, high = pair.auc_interval
    assert (low < 0.3, high) == (True, 1.0)
    # Twenty problems that all agree, each by a single pair, are no proof either.
    alike = fit_verifier([[0.9]] * 20, [[0.1]] * 20)
    assert 0.9 < alike.auc < 1
    assert alike.auc_sd > 0.02
    many = fit_verifier([[0.9] * 8] * 100, [[0.1] * 8] * 100)
    assert many.auc > 0.999


def test_hanley_mcneil_agrees_with_drawn_scores():
    rng = np.random.default_rng(5)
    right, wrong = rng.exponential(2, (2000, 30)), rng.exponential(1, (2000, 40))
    aucs = (right[:, :, None] > wrong[:, None, :]).mean(axis=(1, 2))
    assert hanley_mcneil(float(aucs.mean()), 30, 40) == pytest.approx(float(aucs.std()), rel=0.1)


def test_bad_samples_are_refused():
    for call in (
        lambda: fit_difficulty([], []),
        lambda: fit_difficulty([3], [2]),
        lambda: fit_difficulty([1], [1, 2]),
        lambda: fit_verifier([[0.5]], []),
        lambda: fit_verifier([[]], [[0.5]]),
        lambda: hanley_mcneil(2.0, 1, 1),
    ):
        with pytest.raises(ValueError, match=r"need|must|one"):
            call()
