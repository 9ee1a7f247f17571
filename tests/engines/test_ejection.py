from hypothesis import given
from hypothesis import strategies as st

from engines.ejection import FIRST_REST, LONGEST_REST, Standing


def failed(times: int) -> tuple[Standing, float]:
    """A standing after so many ejections in a row, and the time of the last."""
    standing, now = Standing(), 0.0
    standing.fail(now)
    for _ in range(times - 1):
        now += LONGEST_REST
        standing.try_out()
        standing.fail(now)
    return standing, now


def test_a_rest_doubles_with_each_trial_that_fails_up_to_the_longest():
    rests = []
    for times in range(1, 8):
        standing, now = failed(times)
        rests.append(next(s for s in range(1, 1000) if standing.due(now + s)))
    assert rests == [5, 10, 20, 40, 60, 60, 60]
    assert (FIRST_REST, LONGEST_REST) == (5, 60)


@given(st.integers(1, 5000))
def test_however_often_it_fails_it_is_tried_again_in_time(times):
    standing = Standing()
    for i in range(times):
        standing.try_out()
        standing.fail(float(i))
    assert standing.ejections == times
    assert standing.due(times - 1 + LONGEST_REST)


def test_while_a_trial_is_under_way_no_second_one_is_due():
    standing, now = failed(1)
    assert not standing.due(now)
    assert standing.due(now + FIRST_REST)
    standing.try_out()
    assert not standing.due(now + 1000)
    standing.give_up_trial()
    assert standing.out
    assert standing.due(now + FIRST_REST)


def test_a_success_takes_it_back_and_the_next_rest_is_short_again():
    standing, now = failed(4)
    standing.try_out()
    standing.succeed()
    assert not standing.out
    standing.fail(now)
    assert standing.due(now + FIRST_REST)


def test_a_hundred_calls_that_fail_together_are_one_ejection():
    standing = Standing()
    for _ in range(100):
        standing.fail(1.0)
    assert standing.ejections == 1
    assert standing.due(1.0 + FIRST_REST)
