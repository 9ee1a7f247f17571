import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.prediction import Options
from budgets.profiles import Measurement, Profile
from budgets.uncertainty import accuracies


def drawn(seed=1, problems=200, samples=16, cap=None):
    """Problems of a known task: Beta(0.7, 1.3), 12 wrong answers, right ones longer, an AUC of 0.84."""
    rng = np.random.default_rng(seed)
    found = []
    for p, shares in zip(
        rng.beta(0.7, 1.3, problems), rng.dirichlet(np.full(12, 0.5), problems), strict=True
    ):
        one = []
        for right in rng.random(samples) < p:
            tokens = int(rng.lognormal(5.5 if right else 5.0, 0.4)) + 1
            answer = "right" if right else f"wrong {rng.choice(12, p=shares)}"
            score = 1 / (1 + math.exp(-rng.normal(0.7 if right else -0.7, 1.0)))
            cut = cap is not None and tokens > cap
            one.append(
                Measurement(False, cap, False)
                if cut
                else Measurement(bool(right), tokens, True, answer, score)
            )
        found.append(one)
    return found


MEASURED = Profile.measured(drawn(), verifier="orm")


def test_a_calibration_finds_the_tasks_numbers():
    assert (MEASURED.source, MEASURED.problems, MEASURED.samples, MEASURED.feedback) == (
        "calibrated",
        200,
        3200,
        0,
    )
    low, high = MEASURED.difficulty.mean_interval
    assert low < 0.35 < high < low + 0.12
    assert MEASURED.wrong.wrong.agreement == pytest.approx(1.5 / 7, abs=0.03)
    assert MEASURED.lengths.right.mean == pytest.approx(5.5, abs=0.05)
    assert MEASURED.lengths.wrong.mean == pytest.approx(5.0, abs=0.05)
    assert MEASURED.verifiers["orm"].auc == pytest.approx(0.84, abs=0.02)
    assert MEASURED.coverage is not None
    assert MEASURED.coverage.error < 0.02
    assert MEASURED.cap is None
    assert MEASURED.answered == 1


def test_at_the_cap_of_the_calibration_its_own_accuracy_is_predicted_and_below_it_less():
    problems = drawn(2, cap=200)
    profile = Profile.measured(problems, verifier="orm")
    assert profile.cap == 200
    rate = np.mean([one.right for samples in problems for one in samples])
    at = [float(accuracies("best_of_n", profile.fitted("orm", L), [1]).value[0]) for L in (50, 200, 4000)]
    assert at[1] == at[2] == pytest.approx(rate, abs=0.01)
    whole = Profile.measured(drawn(2), verifier="orm")
    assert float(accuracies("best_of_n", whole.fitted("orm", 200), [1]).value[0]) == pytest.approx(
        at[1], abs=0.02
    )
    fewer = np.mean([one.right and one.tokens <= 50 for samples in problems for one in samples])
    assert at[0] == pytest.approx(fewer, abs=0.01)


def test_cut_samples_and_those_without_an_answer_have_no_vote():
    problems = drawn(3, cap=200)
    others = [one for samples in problems for one in samples if not one.right]
    answered = np.mean([one.answer is not None for one in others])
    task = Profile.measured(problems).fitted(None)
    assert (task.right_reach, task.wrong_reach) == (1, pytest.approx(answered))
    unread = [[replace(one, answer=None) for one in samples] for samples in problems]
    finished = np.mean([one.finished for one in others])
    assert Profile.measured(unread).answered == pytest.approx(finished)


def test_verifiers_measured_before_are_kept_and_certain_ones_need_no_scores():
    again = Profile.measured(drawn(4), verifier="exact", before=MEASURED)
    assert set(again.verifiers) == {"orm"}
    assert again.difficulty != MEASURED.difficulty
    assert all(map(again.knows, ("orm", "exact", "unit_tests")))
    assert not again.knows("judge")
    assert again.fitted("exact").verifier is None


def test_a_verifier_nobody_measured_has_a_wide_prior():
    task = MEASURED.fitted("judge")
    assert task.verifier is not None
    low, high = task.verifier.auc_interval
    assert low < 0.5
    assert high > 0.8
    unknown, known = (accuracies("best_of_n", MEASURED.fitted(name), [64]) for name in ("judge", "orm"))
    assert unknown.high - unknown.low > 2 * (known.high - known.low)


def test_the_prior_is_labelled_and_leaves_nearly_everything_open():
    prior = Profile.prior()
    assert (prior.source, prior.samples) == ("prior", 0)
    for strategy in ("repeated_sampling", "majority", "best_of_n", "best_of_majority"):
        found = accuracies(strategy, prior.fitted("orm"), [1, 16])
        assert np.all(found.low < 0.15)
        assert np.all(found.high > 0.9)


def test_profiles_survive_json():
    told = MEASURED.told("majority", 8, correct=True)
    for profile in (Profile.prior(), MEASURED, told, Profile.measured(drawn(5, cap=200))):
        assert Profile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False))) == profile


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("difficulty", "beta", "a"), -1.0),
        (("difficulty", "beta", "a"), math.nan),
        (("difficulty", "covariance"), [[1.0, 2.0], [2.0, 1.0]]),
        (("difficulty", "covariance"), [[math.inf, 0.0], [0.0, 1.0]]),
        (("wrong", "log_sd"), math.nan),
        (("lengths", "right_share"), 2.0),
        (("lengths", "right", "sd"), 0.0),
        (("lengths", "wrong_mean_sd"), -1.0),
        (("verifiers", "orm", "auc"), math.nan),
        (("verifiers", "orm", "empirical", "right"), []),
        (("cap",), 0),
        (("source",), "guessed"),
        (("samples",), -3),
        (("samples",), "many"),
        (("answered",), math.nan),
    ],
)
def test_what_is_no_profile_is_refused(path, value):
    kept = MEASURED.to_dict()
    at = kept
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(ValueError, match=r"\w"):
        Profile.from_dict(kept)


@pytest.mark.parametrize("kept", [None, [], "profile", {}, {"difficulty": 3}])
def test_other_values_are_refused(kept):
    with pytest.raises(ValueError, match=r"Expected|missing"):
        Profile.from_dict(kept)


def test_too_little_is_refused_with_the_mend():
    right = Measurement(True, 10, True, "1", 0.9)
    for problems, mend in (
        ([], "sample"),
        ([[right], []], "leave out"),
        ([[right]], "two finished"),
        ([[Measurement(False, 10, False)] * 4], "two finished"),
    ):
        with pytest.raises(ValueError, match=mend):
            Profile.measured(problems)
    with pytest.raises(ValueError, match="orm scored no wrong sample"):
        Profile.measured([[right, right]], verifier="orm")


def test_a_calibration_where_everything_is_right_is_a_profile_without_a_coverage_law():
    profile = Profile.measured([[Measurement(True, 20, True, "4")] * 4] * 10)
    assert profile.coverage is None
    assert 0.9 < profile.difficulty.beta.mean < 1
    assert accuracies("majority", profile.fitted(None), [8]).value[0] > 0.9


def test_many_scores_are_kept_thinned():
    fit = Profile.measured(drawn(6, problems=1000), verifier="orm").verifiers["orm"]
    assert 2048 < len(fit.empirical.wrong) <= 4096
    assert fit.auc == pytest.approx(0.84, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    ("majority", Options()),
                    ("best_of_n", Options()),
                    ("best_of_n", Options(select="weighted")),
                    ("best_of_majority", Options(k=2)),
                    ("repeated_sampling", Options()),
                ]
            ),
            st.sampled_from([1, 2, 8, 64]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_whatever_is_told_a_profile_stays_one(history):
    profile = Profile.prior()
    for (strategy, options), samples, correct in history:
        profile = profile.told(strategy, samples, correct, options=options, verifier="orm")
    assert profile.feedback == len(history)
    assert Profile.from_dict(profile.to_dict()) == profile


@st.composite
def samples_of_problems(draw):
    one = st.builds(
        Measurement,
        st.booleans(),
        st.integers(0, 5000),
        st.booleans(),
        st.sampled_from([None, "1", "2", "3"]),
        st.sampled_from([None, 0.0, 0.3, 0.3, 1.0]),
    )
    return draw(st.lists(st.lists(one, min_size=1, max_size=6), min_size=1, max_size=6))


@settings(max_examples=30, deadline=None)
@given(samples_of_problems(), st.sampled_from([None, 1, 300, 10_000]))
def test_any_samples_give_a_profile_that_predicts_or_are_refused(problems, max_tokens):
    every = [one for samples in problems for one in samples]
    scored = {one.right for one in every if one.score is not None}
    if len(scored) < 2 or sum(one.finished for one in every) < 2:
        with pytest.raises(ValueError, match=r"orm scored no|two finished"):
            Profile.measured(problems, verifier="orm")
        return
    profile = Profile.measured(problems, verifier="orm")
    assert Profile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False))) == profile
    found = accuracies("best_of_n", profile.fitted("orm", max_tokens), [1, 8])
    assert np.all((found.low >= 0) & (found.low <= found.high) & (found.high <= 1))
