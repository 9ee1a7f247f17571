import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.calibration.observed import counts, observed
from tests.service.calibration.problems import graded

flags = st.lists(st.booleans(), min_size=1, max_size=8)


def test_numbers_of_samples_are_powers_of_two_and_one_and_a_half_of_them():
    of = {n: counts([graded([True] * n)]) for n in (1, 2, 5, 16)}
    assert of == {1: [1], 2: [1, 2], 5: [1, 2, 3, 4, 5], 16: [1, 2, 3, 4, 6, 8, 12, 16]}
    assert counts([graded([True] * 16)], most=8)[-1] == 8


def test_a_tenth_of_the_problems_may_have_fewer_samples():
    short, whole = graded([True]), graded([True] * 8)
    assert counts([short, *[whole] * 19])[-1] == 8
    assert counts([short] * 4 + [whole] * 16)[-1] == 1


def test_curves_of_one_problem_by_hand():
    one = graded([True, False, False, True], ["r", "a", "b", "r"], scores=[0.2, 0.9, None, 0.5])
    found = observed([one], [1, 2, 4], scored=True)
    assert found["repeated_sampling"] == pytest.approx({1: 0.5, 2: 5 / 6, 4: 1.0})
    assert found["majority"][4] == 1.0
    assert found["best_of_n"][4] == 0.0
    # Of the six pairs, the higher score is right in (0, 2), (0, 3) and (2, 3).
    assert found["best_of_n"][2] == pytest.approx(0.5, abs=0.15)


def test_a_vote_without_an_answer_has_no_vote_and_a_tie_goes_to_the_first():
    silent = graded([False, False, False, True], [None, None, None, "r"])
    assert observed([silent], [4], scored=False)["majority"][4] == 1.0
    assert observed([graded([False] * 2, [None] * 2)], [2], scored=False)["majority"][2] == 0.0
    tie = graded([True, False], ["r", "w"])
    assert observed([tie], [2], scored=False)["majority"][2] == pytest.approx(0.5, abs=0.2)


@settings(max_examples=60, deadline=None)
@given(flags)
def test_what_any_strategy_finds_is_covered_and_the_same_again(right):
    some = [graded(right, scores=[i / 10 for i in range(len(right))])]
    samples = list(range(1, len(right) + 1))
    found = observed(some, samples, scored=True)
    assert found == observed(some, samples, scored=True)
    coverage = found["repeated_sampling"]
    assert [curve[1] for curve in found.values()] == pytest.approx([sum(right) / len(right)] * 3)
    assert list(coverage.values()) == sorted(coverage.values())
    for curve in found.values():
        assert curve[len(right)] <= coverage[len(right)] == float(any(right))
        assert set(curve.values()) == {1.0} if all(right) else curve[1] < 1


def test_problems_with_fewer_samples_count_only_up_to_these():
    some = [graded([True]), graded([False, False])]
    assert observed(some, [1, 2], scored=False)["repeated_sampling"] == {1: 0.5, 2: 0.0}
