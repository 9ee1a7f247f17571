import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.problems import FATAL, RIGHT, RewardSettings, SimulatedSettings
from engines.simulated.scores import embedding, outcome_score, process_score, process_scores, state_after
from engines.simulated.world import SimulatedWorld
from tests.engines.simulated.serving import solutions

EVEN = SimulatedSettings(accuracy=0.5, concentration=math.inf)
EVEN_WORLD = SimulatedWorld(EVEN)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n .0123456789"))


def world(**process: float) -> SimulatedWorld:
    rewards = RewardSettings(**process)
    settings = SimulatedSettings(accuracy=0.5, concentration=math.inf, process=rewards, outcome=rewards)
    return SimulatedWorld(settings)


def steps_of(text: str) -> list[str]:
    return [step for step in text.split("\n\n") if step]


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def auc(right: list[float], wrong: list[float]) -> float:
    """The chance that one of `right` is above one of `wrong`."""
    ranked = sorted([(score, True) for score in right] + [(score, False) for score in wrong])
    ranks = sum(rank for rank, (_, is_right) in enumerate(ranked, 1) if is_right)
    return (ranks - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong))


@pytest.mark.parametrize("asked", [0.6, 0.83, 0.95])
def test_the_rewards_tell_right_from_wrong_as_well_as_asked_for(asked):
    simulated = world(auc=asked)
    found: dict[str, tuple[list[float], list[float]]] = {
        which: ([], []) for which in ("second step", "last step", "outcome")
    }
    for problem, text in solutions(simulated, 1000, 3):
        steps = steps_of(text)
        scores = simulated.process_scores(problem, text)
        for which, place, score in (
            ("second step", 2, scores[1]),
            ("last step", len(steps), scores[-1]),
            ("outcome", len(steps), simulated.outcome_score(problem, text)),
        ):
            right = state_after(problem, steps[:place]) == RIGHT
            found[which][0 if right else 1].append(score)
    for right, wrong in found.values():
        error = math.sqrt(asked * (1 - asked) / min(len(right), len(wrong)))
        assert auc(right, wrong) == pytest.approx(asked, abs=4 * error)


def test_a_path_keeps_the_scores_of_its_beginning_and_the_same_text_its_score():
    simulated = world()
    for problem, text in solutions(simulated, 50, 1):
        steps = steps_of(text)
        scores = simulated.process_scores(problem, text)
        assert len(scores) == len(steps)
        for place in range(1, len(steps) + 1):
            pieces = [step + "\n\n" for step in steps[:place]]
            assert simulated.process_score(problem, pieces) == scores[place - 1]
            assert simulated.process_scores(problem, "".join(pieces)) == scores[:place]
        again = SimulatedWorld(simulated.settings)
        assert again.process_scores(again.problem(problem.index), text) == scores


@pytest.mark.parametrize("asked", [0.0, 0.5, 0.9])
def test_errors_persist_along_a_path_as_asked_for(asked):
    simulated = world(auc=0.5, persistence=asked)
    pairs = []
    for problem, text in solutions(simulated, 2000, 1):
        logits = [logit(score) for score in simulated.process_scores(problem, text)]
        pairs.append((logits[2], logits[3]))
    assert statistics.correlation(*zip(*pairs, strict=True)) == pytest.approx(asked, abs=0.07)


def test_early_overconfidence_makes_early_errors_larger_path_by_path():
    simulated = world(auc=0.5, spread=1.0, overconfidence=2.0)
    first, last = [], []
    for problem, text in solutions(simulated, 2000, 1):
        scores = simulated.process_scores(problem, text)
        first.append(logit(scores[0]))
        last.append(logit(scores[-1]))
    assert statistics.stdev(first) == pytest.approx(3, rel=0.07)
    assert statistics.stdev(last) == pytest.approx(1, rel=0.07)
    assert statistics.fmean(first) == pytest.approx(0, abs=0.3)


def test_bias_moves_every_score_alike():
    plain, biased = world(), world(bias=1.0)
    for problem, text in solutions(plain, 10, 1):
        for a, b in zip(
            plain.process_scores(problem, text), biased.process_scores(problem, text), strict=True
        ):
            assert logit(b) - logit(a) == pytest.approx(1)


def test_a_hackable_reward_loves_a_few_wrong_answers_and_is_else_the_same():
    simulated = world()
    loved, hated = [], []
    for problem, text in solutions(simulated, 400, 3):
        plain = simulated.outcome_score(problem, text)
        hackable = simulated.outcome_score(problem, text, hackable=True)
        if state_after(problem, steps_of(text)) - FATAL in problem.loved:
            loved.append(hackable)
            hated.append(plain)
        else:
            assert hackable == plain
    assert len(loved) > 10
    assert statistics.median(loved) > 0.9
    assert statistics.median(hated) < 0.5


def test_a_response_that_states_no_answer_is_a_wrong_outcome():
    simulated = world(spread=1.0, auc=0.999)
    cut, whole = [], []
    for problem, text in solutions(simulated, 300, 1):
        if state_after(problem, steps_of(text)) == RIGHT:
            whole.append(simulated.outcome_score(problem, text))
            cut.append(simulated.outcome_score(problem, text[:-30]))
    assert statistics.fmean(whole) > 0.8
    assert statistics.fmean(cut) < 0.2


def test_rewards_differ_from_each_other_and_between_worlds():
    one, other = EVEN_WORLD, SimulatedWorld(EVEN, seed=1)
    for problem, text in solutions(one, 10, 1):
        process, outcome = one.process_scores(problem, text)[-1], one.outcome_score(problem, text)
        assert process != outcome
        assert other.process_scores(other.problem(problem.index), text)[-1] != process


@given(TEXTS, st.floats(0, 10), st.floats(-10, 10))
def test_any_text_has_scores_between_0_and_1(text, overconfidence, bias):
    settings = RewardSettings(spread=10.0, overconfidence=overconfidence, bias=bias)
    problem = EVEN_WORLD.asked(text)
    scores = process_scores(problem, text, settings)
    scores += [outcome_score(problem, text, settings, hackable=True), process_score(problem, text, settings)]
    assert all(0 < score < 1 for score in scores)


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embedding(one), embedding(other), strict=True))


def test_steps_that_mean_the_same_are_close_and_others_are_not():
    step = "Step 2: dividing the total, adding the width, we get 42.\n\n"
    assert cosine(step, "Step 2: taking the part, moving the line, we get 42.") > 0.95
    assert abs(cosine(step, "Step 2: dividing the total, adding the width, we get 43.")) < 0.6
    assert abs(cosine(step, "Step 2: dividing the total, adding the width, this gives 42.")) < 0.6
    assert cosine(step, step) == pytest.approx(1)
    assert cosine("So dividing, the answer is 42.", "So adding, the answer is 42.") > 0.95


@given(TEXTS, TEXTS)
def test_any_text_has_an_embedding(one, other):
    assert cosine(one, one) == pytest.approx(1)
    assert -1.001 <= cosine(one, other) <= 1.001
