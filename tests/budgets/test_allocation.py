import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.allocation import allocate
from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit, VerifierFit, WrongAnswersFit
from budgets.futures import Futures
from budgets.posterior import MOST_EVIDENCE, SPEAKING, Evidence, posterior
from budgets.uncertainty import FittedTask
from budgets.verifier_quality import Binormal, Empirical
from budgets.wrong_answers import WrongAnswers

MIXED = Beta(0.8, 1.0)
WRONG = WrongAnswers.even(12, 0.6)


def fitted(beta=MIXED, auc=0.8, wrong=WRONG):
    model = Binormal.of_auc(auc)
    verifier = VerifierFit(Empirical((0.5,), (0.5,)), model, auc, 0.01, True)
    return FittedTask(DifficultyFit(beta, ((0.01, 0.0), (0.0, 0.01))), WrongAnswersFit(wrong, 0.1), verifier)


def mean_speaking():
    return sum(share * chance for share, chance in SPEAKING)


def test_unanimous_samples_are_enough():
    found = allocate(fitted(Beta(6, 2)), Evidence((4,)), most=28, verifier=False)
    assert found.more == 0
    assert found.accuracy_now > 0.95
    assert found.accuracy_then == found.accuracy_now
    assert found.reason.startswith("All 4 samples agree on an answer that is right with")


def test_mixed_votes_go_on_with_what_selects_best():
    found = allocate(fitted(), Evidence((2, 1, 1)), most=28, verifier=False, least_gain=0.005)
    assert found.more > 0
    assert found.accuracy_then > found.accuracy_now + 0.05
    assert (found.strategy, found.ranked) == ("majority", (0, 1, 2))
    assert "2 of 4 samples give the likeliest answer" in found.reason


def test_a_good_score_outranks_votes():
    found = allocate(fitted(auc=0.97), Evidence((2, 1), ((0.02, 0.03), (0.99,))), most=0, verifier=True)
    assert found.ranked == (1, 0)
    assert found.strategy == "best_of_n"
    assert "the plan's 3 samples are drawn" in found.reason


def test_a_hopeless_prompt_is_given_up():
    hard = fitted(Beta(0.3, 8))
    found = allocate(hard, Evidence((1,) * 12), most=20, verifier=False)
    assert found.more == 0
    assert found.accuracy_now < 0.2


def test_a_probe_where_prompts_differ_and_none_where_one_sample_is_as_good_as_many():
    mixed = allocate(fitted(Beta(0.5, 0.5), auc=0.85), Evidence(()), most=32, verifier=True)
    assert mixed.more in (2, 4)
    assert mixed.accuracy_then > 0.5
    assert "first is worth" in mixed.reason
    sure = allocate(fitted(Beta(99_000, 1_000)), Evidence(()), most=32, verifier=True)
    assert sure.more == 1
    # every sample of the task has an answer, and yet a little is left for prompts that have none
    assert sure.accuracy_then == pytest.approx(0.99 * mean_speaking(), abs=0.005)


def test_gains_worth_less_are_left_and_worth_more_taken():
    task, seen = fitted(), Evidence((2, 1, 1))

    def promised(least_gain):
        return allocate(task, seen, most=60, verifier=False, least_gain=least_gain).accuracy_then

    assert promised(1e-4) >= promised(0.01) >= promised(0.03) >= promised(1.0)
    assert allocate(task, seen, most=60, verifier=False, least_gain=1.0).more == 0


def test_a_check_that_is_never_wrong_ends_with_the_first_right_answer():
    task = FittedTask(fitted().difficulty, fitted().wrong)
    found = allocate(task, Evidence((3, 1), ((0.0, 0.0, 0.0), (1.0,))), most=28, verifier=True)
    assert (found.more, found.ranked[0]) == (0, 1)
    assert found.accuracy_now > 0.999
    assert allocate(task, Evidence((3, 1), ((0.0,) * 3, (0.0,))), most=28, verifier=True).more > 0


def test_samples_without_an_answer_rank_nothing_and_call_for_more():
    found = allocate(fitted(), Evidence((), silent=2), most=8, verifier=True)
    assert (found.ranked, found.accuracy_now) == ((), 0.0)
    assert found.more > 0
    assert found.reason.startswith("None of 2 samples has an answer")
    one = allocate(fitted(), Evidence((), silent=1), most=0, verifier=True)
    assert one.reason == "The only sample has no answer: the plan's one sample is drawn."


@pytest.mark.parametrize("beta", [MIXED, Beta(9, 1), Beta(99, 1)])
@pytest.mark.parametrize("reach", [(1.0, 1.0), (0.9, 1.0), (1.0, 0.9)])
def test_the_more_samples_have_no_answer_the_less_is_promised_and_eight_are_enough(beta, reach):
    task = replace(fitted(beta), right_reach=reach[0], wrong_reach=reach[1])
    found = [
        allocate(task, Evidence((), silent=silent), most=64, verifier=True, least_gain=1e-4)
        for silent in (2, 4, 8, 200)
    ]
    promised = [one.accuracy_then for one in found]
    assert promised == sorted(promised, reverse=True)
    for silent in (8, 12):
        done = allocate(task, Evidence((), silent=silent), most=64, verifier=True)
        assert (done.more, done.accuracy_then) == (0, 0.0)


def test_a_task_whose_samples_often_have_no_answer_goes_on_longer():
    task = replace(fitted(), right_reach=0.3, wrong_reach=0.3)
    assert allocate(task, Evidence((), silent=8), most=64, verifier=True).more > 0


@pytest.mark.parametrize("seen", [Evidence(()), Evidence((1,) * 60, silent=4), Evidence((1,) * 250)])
def test_many_answers_and_many_samples_are_no_more_work(monkeypatch, seen):
    """Cells of the futures' tables, for k = 1 and 128 and for the samples that may be drawn."""
    cells = []
    after = Futures.after

    def counted(self, further):
        ahead = after(self, further)
        cells.append(ahead.weight.size)
        return ahead

    def work(k, most):
        cells.clear()
        # another number each time: what was asked before is kept
        task = fitted(Beta(0.8 + 1e-6 * (k + 1000 * most), 1.0))
        allocate(task, seen, most=most, verifier=True, k=k, least_gain=1e-4)
        return list(cells)

    monkeypatch.setattr(Futures, "after", counted)
    few, many = work(1, 64), work(128, 256)
    assert few
    assert set(many) <= {*few, *work(128, 64)}
    assert len(many) <= 8
    assert max(many) <= 2048 * (2 + len(seen.votes) + 12 + 64)


def test_nothing_may_be_drawn():
    found = allocate(fitted(), Evidence(()), most=0, verifier=True)
    assert (found.more, found.accuracy_now, found.accuracy_then) == (0, 0.0, 0.0)
    full = allocate(fitted(), Evidence((MOST_EVIDENCE // 2,) * 2), most=1000, verifier=False)
    assert full.more == 0
    assert "512 samples of a prompt are the most that are reckoned with" in full.reason


@pytest.mark.parametrize("beta", [Beta(0.1, 0.02), Beta(5, 0.5)])
@pytest.mark.parametrize("least_gain", [1e-4, 1e-3])
def test_savings_are_told_in_no_more_samples_than_there_are(beta, least_gain):
    reason = allocate(
        fitted(beta, auc=0.99), Evidence(()), most=64, verifier=True, least_gain=least_gain
    ).reason
    found = re.match(r"(\d+) samples drawn at once .*(?:about (\d+) sample|would not save)", reason)
    assert int(found[2] or 0) <= int(found[1]), reason


scored = st.lists(
    st.lists(st.one_of(st.none(), st.floats(0.01, 0.99)), min_size=1, max_size=4).map(tuple), max_size=5
)


@settings(max_examples=60, deadline=None)
@given(
    scored,
    st.integers(0, 4),
    st.integers(0, 40),
    st.booleans(),
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.integers(1, 3),
)
def test_whatever_was_seen(scores, silent, most, verifier, a, b, k):
    evidence = Evidence(tuple(map(len, scores)), tuple(scores), silent)
    task = fitted(Beta(a, b))
    found = allocate(task, evidence, most=most, verifier=verifier, k=k)
    assert 0 <= found.more <= most
    assert found == allocate(task, evidence, most=most, verifier=verifier, k=k)
    assert 0 <= found.accuracy_now <= found.accuracy_then <= 1
    assert sorted(found.ranked) == list(range(len(scores)))
    right = posterior(task, evidence).right
    assert [right[j] for j in found.ranked] == sorted(right, reverse=True)
    assert found.options.k == k
    if found.more == 0 and evidence.drawn:
        assert found.accuracy_then == found.accuracy_now


def test_waves_grow_and_end():
    """A prompt whose every sample is another answer: waves grow by half, and end at what may be drawn at most."""
    drawn, waves = 4, []
    while more := allocate(
        fitted(), Evidence((1,) * drawn), most=40 - drawn, verifier=False, least_gain=1e-4
    ).more:
        waves.append(more)
        drawn += more
    assert drawn <= 40
    assert all(
        wave <= max(2, math.ceil(before / 2))
        for wave, before in zip(waves, np.cumsum([4, *waves]), strict=False)
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"most": -1}, "most"),
        ({"most": 1.5}, "most"),
        ({"least_gain": 0.0}, "least_gain must be a number of at least 0.0001"),
        ({"least_gain": 5e-324}, "least_gain must be a number of at least 0.0001"),
        ({"least_gain": 9e-5}, "least_gain must be a number of at least 0.0001"),
        ({"least_gain": math.nan}, "least_gain"),
        ({"k": 0}, "k must"),
        ({"k": 129}, "k must"),
    ],
)
def test_bad_input_is_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        allocate(fitted(), Evidence((1,)), **{"most": 4, "verifier": True, **wrong})
