import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.problems import (
    FATAL,
    RIGHT,
    SLIPPED,
    Draws,
    RewardSettings,
    SimulatedSettings,
    make_problem,
)

SHARES = st.floats(0, 1)


@given(SHARES, st.integers(1, 64), SHARES, SHARES)
def test_the_hazard_of_a_step_gives_the_accuracy_asked_for(accuracy, steps, recoverable, mending):
    settings = SimulatedSettings(
        accuracy=accuracy,
        concentration=math.inf,
        steps=(steps, steps),
        recoverable=recoverable,
        mending=mending,
    )
    problem = make_problem(settings, 0, 0)
    right, slipped = 1.0, 0.0
    for _ in range(steps):
        (stays, slips), (mended, waits) = problem.moves(RIGHT), problem.moves(SLIPPED)
        right, slipped = right * stays + slipped * mended, right * slips + slipped * waits
    assert right == pytest.approx(accuracy, abs=1e-6)


@given(st.integers(0, 200), st.integers(1, 11), st.integers(0, 25))
def test_what_a_step_leads_to_is_certain_in_sum(index, step, before):
    problem = make_problem(SimulatedSettings(), 3, index)
    step = min(step, problem.steps)
    chances = [problem.chance(step, before, after) for after in range(FATAL + 24)]
    assert sum(chances) == pytest.approx(1)
    assert min(chances) >= 0
    assert step < problem.steps or chances[SLIPPED] == 0


@given(st.integers(0, 200), st.integers(0, 25), st.integers(1, 5))
def test_a_number_tells_the_state_to_who_knows_the_problem(index, state, step):
    problem = make_problem(SimulatedSettings(), 3, index)
    if step < problem.steps:
        assert problem.state_shown(step, problem.shown(step, state)) == state
    if state != SLIPPED:
        assert problem.state_stated(problem.stated(state)) == state


def test_numbers_that_no_state_shows_are_mistakes():
    problem = make_problem(SimulatedSettings(wrong_answers=1), 0, 0)
    shown = {problem.shown(1, state) for state in range(3)}
    others = set(range(1000)) - shown
    assert {problem.state_shown(1, number) for number in others} == {SLIPPED}
    assert {problem.state_stated(n) for n in range(1000) if n not in problem.answers} == {SLIPPED}
    assert problem.state_shown(99, 17) == SLIPPED


def test_a_problem_is_the_same_whenever_it_is_made_and_another_in_another_world():
    settings = SimulatedSettings()
    assert make_problem(settings, 5, 17) == make_problem(settings, 5, 17)
    assert make_problem(settings, 5, 17) != make_problem(settings, 6, 17)
    assert make_problem(settings, -1, 17).answer


def test_accuracies_have_the_mean_asked_for_and_spread_from_0_to_1():
    accuracies = [make_problem(SimulatedSettings(), 0, i).accuracy for i in range(1000)]
    assert statistics.fmean(accuracies) == pytest.approx(0.35, abs=4 * 0.275 / math.sqrt(1000))
    assert statistics.stdev(accuracies) == pytest.approx(0.275, abs=0.02)
    assert min(accuracies) < 0.01
    assert max(accuracies) > 0.95


def test_answers_are_distinct_numbers_common_wrong_ones_first():
    for index in range(100):
        problem = make_problem(SimulatedSettings(), 0, index)
        assert len(set(problem.answers)) == 25
        assert all(100 <= answer < 1000 for answer in problem.answers)
        assert sum(problem.shares) == pytest.approx(1)
        assert list(problem.shares) == sorted(problem.shares, reverse=True)
        assert len(problem.loved) == 3
        assert all(problem.shares[loved] < 0.05 for loved in problem.loved)
        assert 5 <= problem.steps <= 11


def test_a_lone_wrong_answer_is_loved_for_want_of_rare_ones():
    settings = SimulatedSettings(wrong_answers=1)
    assert make_problem(settings, 0, 0).loved == {0}


def test_draws_are_even_and_a_function_of_their_key():
    draws = Draws(1, 2)
    sample = [draws.uniform() for _ in range(4000)]
    assert statistics.fmean(sample) == pytest.approx(0.5, abs=0.02)
    assert statistics.pvariance(sample) == pytest.approx(1 / 12, abs=0.004)
    assert Draws(1, 2).bits() == Draws(1, 2).bits()
    assert len({Draws(a, b).bits() for a in range(50) for b in range(50)}) == 2500
    assert Draws(-1).bits() != Draws(1).bits()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"accuracy": 1.5}, "accuracy is 1.5; choose 0 to 1."),
        ({"accuracy": math.nan}, "accuracy is nan"),
        ({"steps": (0, 3)}, "steps is 0"),
        ({"steps": (5, 3)}, "steps is 3; choose 5 to 64."),
        ({"step_tokens": 5}, "step_tokens is 5; choose 14 to 128."),
        ({"loved": 0}, "loved is 0; choose 1 to 89."),
        ({"wrong_answers": 100}, "wrong_answers is 100; choose 1 to 87."),
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong, says):
    with pytest.raises(ValueError, match=says):
        SimulatedSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"auc": 0.4}, {"persistence": 2.0}, {"overconfidence": -1.0}, {"spread": 99.0}]
)
def test_reward_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; choose"):
        RewardSettings(**wrong)
