import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.scores import bounded, complete, logits, probabilities, softmax

scores = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9), st.floats(0, 1)), min_size=1, max_size=12)


def test_probabilities_stay_as_they_are_and_anything_else_goes_through_a_sigmoid():
    assert probabilities([0.0, None, 1.0], are=True) == [0.0, None, 1.0]
    assert probabilities([0.0, 2.0], are=False) == [0.5, pytest.approx(1 / (1 + math.exp(-2)))]


def test_logits_of_certainty_are_finite_and_scores_beyond_0_to_1_are_logits_already():
    low, middle, high = logits([0.0, 0.5, 1.0], are=True)
    assert middle == 0
    assert [low, high] == [pytest.approx(-13.8155, abs=1e-3), pytest.approx(13.8155, abs=1e-3)]
    assert logits([-3.0, 0.5], are=False) == [-3.0, 0.5]


def test_softmax_of_logits_is_in_proportion_to_the_odds():
    assert softmax(logits([0.5, 0.75], are=True), 1.0) == [pytest.approx(0.25), pytest.approx(0.75)]


def test_a_missing_value_has_no_weight_unless_all_are_missing():
    assert softmax([None, 1.0], 1.0) == [0.0, 1.0]
    assert softmax([None, None], 1.0) == [0.5, 0.5]


@given(scores=scores, temperature=st.floats(1e-9, 1e6))
def test_weights_are_finite_and_sum_to_one(scores, temperature):
    weights = softmax(logits(scores, bounded(scores)), temperature)
    assert all(weight >= 0 for weight in weights)
    assert math.isclose(math.fsum(weights), 1)


@given(scores=scores)
def test_probabilities_lie_in_0_to_1_and_keep_the_order(scores):
    given_ = [
        (s, p) for s, p in zip(scores, probabilities(scores, bounded(scores)), strict=True) if s is not None
    ]
    assert all(0 <= p <= 1 for _, p in given_)
    assert all(p <= q for s, p in given_ for t, q in given_ if s <= t)


def test_rounding_makes_no_logits_of_probabilities():
    assert bounded([0.5, 1.0000001, -1e-9, None])
    assert probabilities([1.0000001, -1e-9], are=True) == [1.0, 0.0]
    assert not bounded([0.5, 1.01])


def test_the_lowest_score_stands_in_for_a_missing_one():
    assert complete([None, 0.2, 0.7]) == [0.2, 0.2, 0.7]
    assert complete([None, None]) == [0.0, 0.0]
