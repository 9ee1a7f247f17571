import itertools
import math
import random
import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.problems import RIGHT, SLIPPED, Draws, SimulatedSettings
from engines.simulated.scores import state_after
from engines.simulated.words import EOS, SEP, VOCABULARY, Tokens, decode, encode, token_number
from engines.simulated.world import SimulatedWorld
from engines.simulated.writing import Path
from tests.engines.simulated.serving import FOREVER, agrees, solve

WORLD = SimulatedWorld()
WRITER = WORLD.writer
RESPONSE = re.compile(
    r"\[simulated\] (Step \d+: [a-z ]+, [a-z ]+, (we get|this gives|that leaves|which makes) \d\d\.\n\n)*"
    r"So [a-z ]+, the answer is \d{3}\."
)
INDICES, KEYS = st.integers(0, 500), st.integers(0, 2**64)


def by_steps(problem, rng: random.Random, so_far: Tokens) -> Tokens:
    return WRITER.write(
        problem, WRITER.path(problem, so_far), Draws(rng.getrandbits(64)), FOREVER, one_step=True
    )


def cut_anywhere(problem, rng: random.Random, so_far: Tokens) -> Tokens:
    path = WRITER.path(problem, so_far)
    return WRITER.write(
        problem, path, Draws(rng.getrandbits(64)), rng.randint(1, 30), one_step=rng.random() < 0.5
    )


def whole(problem, rng: random.Random, so_far: Tokens) -> Tokens:
    return solve(WORLD, problem, rng.getrandbits(64))


def drawn(problem, rng: random.Random, how=cut_anywhere) -> Tokens:
    """A solution drawn piece by piece."""
    tokens: Tokens = ()
    while not tokens or tokens[-1] != EOS:
        tokens += how(problem, rng, tokens)
    return tokens


def test_a_response_reads_like_prose_and_says_that_it_is_simulated():
    for index in range(50):
        problem = WORLD.problem(index)
        text = decode(solve(WORLD, problem, index))
        assert RESPONSE.fullmatch(text)
        assert text.count("\n\n") == problem.steps - 1
    one = SimulatedWorld(SimulatedSettings(steps=(1, 1)))
    assert RESPONSE.fullmatch(decode(solve(one, one.problem(0), 0)))


@pytest.mark.parametrize("how", [whole, by_steps, cut_anywhere])
@pytest.mark.parametrize("accuracy", [0.1, 0.35, 0.9])
def test_independent_samples_are_right_as_often_as_the_problem_says_however_they_are_drawn(how, accuracy):
    world = SimulatedWorld(SimulatedSettings(accuracy=accuracy, concentration=math.inf))
    rng = random.Random(1)
    right = 0
    for index in range(1500):
        problem = world.problem(index)
        right += token_number(drawn(problem, rng, how)[-3]) == problem.answers[0]
    assert agrees(right / 1500, accuracy, 1500)


def test_each_problem_has_its_own_accuracy():
    for index in range(10):
        problem = WORLD.problem(index)
        right = sum(token_number(solve(WORLD, problem, i)[-3]) == problem.answers[0] for i in range(1000))
        assert agrees(right / 1000, problem.accuracy, 1000)


def test_wrong_answers_have_their_shares():
    problem = next(p for p in map(WORLD.problem, range(100)) if p.accuracy < 0.3)
    answers = [token_number(solve(WORLD, problem, i)[-3]) for i in range(3000)]
    wrong = [answer for answer in answers if answer != problem.answers[0]]
    for place in range(3):
        share = wrong.count(problem.answers[place + 1]) / len(wrong)
        assert agrees(share, problem.shares[place], len(wrong))


@given(INDICES, KEYS)
def test_a_solution_cut_anywhere_goes_on_as_if_it_had_not_been(index, key):
    problem = WORLD.problem(index)
    text = decode(drawn(problem, random.Random(key)))
    assert RESPONSE.fullmatch(text)
    assert text.count("\n\n") == problem.steps - 1


@given(INDICES, KEYS)
def test_tokens_and_text_tell_the_same_state(index, key):
    problem = WORLD.problem(index)
    tokens = solve(WORLD, problem, key)
    ends = [i + 1 for i, token in enumerate(tokens) if token == SEP]
    for step, end in enumerate(ends, 1):
        state = WRITER.path(problem, tokens[:end]).state
        assert WRITER.path(problem, tokens[:end]) == Path(step + 1, state, ())
        assert state_after(problem, decode(tokens[:end]).split("\n\n")[:-1]) == state
        assert WRITER.path(problem, tokens[: end + 2]) == Path(step + 1, state, tokens[end : end + 2])


def test_mistakes_are_mended_and_others_are_fatal():
    moves = set()
    for index in range(300):
        problem = WORLD.problem(index)
        texts = decode(solve(WORLD, problem, index)).split("\n\n")
        states = [state_after(problem, texts[:i]) for i in range(len(texts) + 1)]
        moves |= set(itertools.pairwise(min(state, 2) for state in states))
    assert moves == {
        (RIGHT, RIGHT),
        (RIGHT, SLIPPED),
        (RIGHT, 2),
        (SLIPPED, RIGHT),
        (SLIPPED, SLIPPED),
        (SLIPPED, 2),
        (2, 2),
    }


def test_steps_have_the_length_asked_for():
    for asked in (14, 24, 41):
        world = SimulatedWorld(SimulatedSettings(step_tokens=asked))
        lengths = []
        for index in range(100):
            tokens = solve(world, world.problem(index), index)
            ends = [i + 1 for i, token in enumerate(tokens) if token == SEP]
            lengths += [b - a for a, b in itertools.pairwise(ends)]
        assert statistics.fmean(lengths) == pytest.approx(asked, rel=0.03)


@given(INDICES, KEYS, st.integers(1, 60))
def test_no_more_is_written_than_asked_for(index, key, most):
    problem = WORLD.problem(index)
    tokens = WRITER.write(problem, WRITER.path(problem, ()), Draws(key), most)
    assert tokens == solve(WORLD, problem, key)[:most]


def test_a_finished_solution_only_ends():
    problem = WORLD.problem(3)
    tokens = solve(WORLD, problem, 1)
    for finished in (tokens, tokens[:-1]):
        assert WRITER.write(problem, WRITER.path(problem, finished), Draws(1), 10) == (EOS,)


@given(INDICES, KEYS, st.lists(st.integers(0, VOCABULARY - 1)))
def test_what_the_model_did_not_write_is_continued_all_the_same(index, key, foreign):
    problem = WORLD.problem(index)
    begun = tuple(foreign)
    path = WRITER.path(problem, begun)
    rest = WRITER.write(problem, path, Draws(key), FOREVER)
    assert rest[-1] == EOS
    assert len(WRITER.logprobs(problem, path, rest)) == len(rest)


def test_a_users_own_beginning_counts_as_a_step():
    problem = WORLD.problem(0)
    path = WRITER.path(problem, encode("Let me see, well"))
    text = decode(WRITER.write(problem, path, Draws(2), FOREVER, one_step=True))
    assert re.fullmatch(r", (we get|this gives|that leaves|which makes) \d\d\.\n\n", text)


@given(INDICES, KEYS, st.integers(0, 300))
def test_log_probabilities_do_not_hang_on_where_a_solution_was_cut(index, key, cut):
    problem = WORLD.problem(index)
    tokens = solve(WORLD, problem, key)
    cut = min(cut, len(tokens) - 1)
    logprobs = WRITER.logprobs(problem, WRITER.path(problem, ()), tokens)
    first = WRITER.logprobs(problem, WRITER.path(problem, ()), tokens[:cut])
    rest = WRITER.logprobs(problem, WRITER.path(problem, tokens[:cut]), tokens[cut:])
    assert first + rest == pytest.approx(logprobs)
    assert all(logprob <= 0 for logprob in logprobs)


def test_numbers_come_as_often_as_their_log_probabilities_say():
    problem = next(p for p in map(WORLD.problem, range(100)) if 0.2 < p.accuracy < 0.5)
    start = WRITER.path(problem, ())
    counts: dict[int, int] = {}
    chances: dict[int, float] = {}
    for key in range(3000):
        step = WRITER.write(problem, start, Draws(key), FOREVER, one_step=True)
        counts[step[-3]] = counts.get(step[-3], 0) + 1
        chances[step[-3]] = math.exp(WRITER.logprobs(problem, start, step)[-3])
    for number, count in counts.items():
        assert agrees(count / 3000, chances[number], 3000)
