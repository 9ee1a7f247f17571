from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.words import ASSISTANT, END, VOCABULARY, encode, render
from engines.simulated.world import SimulatedWorld
from tests.engines.simulated.serving import solve

WORLD = SimulatedWorld()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_question_names_its_problem():
    for index in (0, 17, 999_999_999):
        assert WORLD.asked(WORLD.question(index)) == WORLD.problem(index)
    assert WORLD.asked("Please solve Problem 17 for me, not Problem 18.") == WORLD.problem(17)


def test_any_other_text_has_a_problem_of_its_own():
    assert (
        WORLD.asked("What is 7 + 8?")
        == WORLD.asked(" What is 7 + 8?\n")
        == SimulatedWorld().asked("What is 7 + 8?")
    )
    texts = ["", "What is 7 + 8?", "What is 8 + 7?", "Problem 12345678901", "Problems", "Problem x", "\ud800"]
    indices = [WORLD.asked(text).index for text in texts]
    assert len(set(indices)) == len(texts)
    assert min(indices) >= 10**9


def test_a_conversation_asks_in_its_last_users_message():
    assistant = {"role": "assistant", "content": "The answer is 5."}
    messages = [{"role": "system", "content": "Problem 1"}, user("Problem 2"), assistant, user("Problem 3")]
    problem, solution = WORLD.split(render(messages))
    assert (problem, solution) == (WORLD.problem(3), ())
    assert WORLD.asked_in(messages) == WORLD.problem(3)
    assert WORLD.asked_in([{"role": "system", "content": "Problem 1"}]) == WORLD.problem(1)
    problem, solution = WORLD.split(render([user("Problem 2"), assistant], generation=False))
    assert (problem, solution) == (WORLD.problem(2), (*encode("The answer is 5."), END))


def test_a_plain_text_asks_before_its_solution():
    tokens = solve(WORLD, WORLD.problem(2), 1)
    assert WORLD.split(encode("Problem 2? ") + tokens) == (WORLD.problem(2), tokens)
    assert WORLD.split(encode("Problem 2? ")) == (WORLD.problem(2), ())


def test_problems_are_forgotten_and_made_again():
    world = SimulatedWorld()
    before = world.problem(1)
    for index in range(5000):
        world.split((*encode(f"Problem {index}"), ASSISTANT))
    assert len(world._problems) <= 4096
    assert len(world._asked) <= 4096
    assert world.problem(1) == before


@given(st.lists(st.integers(0, VOCABULARY - 1)))
def test_any_tokens_are_a_prompt(tokens):
    problem, solution = WORLD.split(tuple(tokens))
    assert WORLD.problem(problem.index) == problem
    assert tuple(tokens)[len(tokens) - len(solution) :] == solution
