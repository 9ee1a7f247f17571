import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.calibration.data import DataError, Response, read_problem, read_problems
from tests.reference import SHARED

GOOD = {"question": "7 + 8?", "answer": "15"}


def read(**fields):
    return read_problem(json.dumps(fields).encode(), "data.jsonl, line 3", 3)


def test_questions_prompts_and_messages_are_problems():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "7 + 8?"}]
    asked = read(question="7 + 8?", answer="15")
    assert asked.messages == ({"role": "user", "content": "7 + 8?"},)
    assert read(prompt="7 + 8?", reference=15).identity == asked.identity
    assert read(messages=messages, answer=15, level="easy", id=3).messages == tuple(messages)


def test_a_problem_is_another_one_with_another_text_or_reference():
    known = {read(**fields).identity for fields in (GOOD, GOOD | {"answer": "16"}, GOOD | {"question": "8?"})}
    assert len(known) == 3


def test_recorded_responses_come_with_scores_and_grades():
    problem = read(**GOOD, responses=["15", "16"], scores=[0.5, None], correct=[True, False], tokens=[3, 4])
    assert problem.recorded == (Response("15", 3, True, 0.5), Response("16", 4, True, None))
    assert problem.correct == (True, False)
    assert not problem.guessed


def test_tokens_that_are_not_given_are_a_quarter_of_the_characters():
    problem = read(**GOOD, responses=["x" * 9, ""], reward=[3, -2.5])
    assert [(r.tokens, r.score) for r in problem.recorded] == [(3, 3), (1, -2.5)]
    assert problem.guessed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"answer": "15"}, "has none of question, prompt, messages. Give one"),
        (GOOD | {"prompt": "x"}, "has question and prompt. Give one"),
        ({"question": "x"}, "has none of answer, reference"),
        (GOOD | {"reference": "x"}, "has answer and reference"),
        ({"question": 3, "answer": "x"}, "question is no text"),
        ({"question": " ", "answer": "x"}, "question is no text"),
        ({"question": "x", "answer": True}, "answer is neither a text nor a number"),
        ({"question": "x", "answer": ["15"]}, "answer is neither a text nor a number"),
        ({"question": "x", "answer": ""}, "answer is neither a text nor a number"),
        ({"messages": [], "answer": "x"}, "messages is no list of messages"),
        ({"messages": ["hi"], "answer": "x"}, "messages is no list of messages"),
        ({"messages": [{"role": "user"}], "answer": "x"}, "messages is no list of messages"),
        (GOOD | {"responses": []}, "responses is no list of texts"),
        (GOOD | {"responses": "15"}, "responses is no list of texts"),
        (GOOD | {"responses": [15]}, "responses is no list of texts"),
        (GOOD | {"responses": ["15"], "scores": [1, 2]}, "scores is no list with one value for each of 1"),
        (GOOD | {"responses": ["15"], "scores": ["high"]}, "scores must hold numbers"),
        (GOOD | {"responses": ["15"], "scores": [True]}, "scores must hold numbers"),
        (GOOD | {"responses": ["15"], "scores": [float("nan")]}, "scores must hold numbers"),
        (GOOD | {"responses": ["15"], "scores": [10**400]}, "scores must hold numbers up to a million"),
        (GOOD | {"responses": ["15"], "reward": [float("inf")]}, "reward must hold numbers"),
        (GOOD | {"responses": ["15"], "correct": [1]}, "correct must hold true and false"),
        (GOOD | {"responses": ["15"], "correct": [None]}, "correct must hold true and false"),
        (GOOD | {"responses": ["15"], "tokens": [1.5]}, "tokens must hold whole numbers"),
        (GOOD | {"responses": ["15"], "tokens": [0]}, "tokens holds a number below 1"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_its_number_and_the_mend(fields, says):
    with pytest.raises(DataError, match=r"^data\.jsonl, line 3: ") as error:
        read(**fields)
    assert says in str(error.value)


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[1]", b"15", b"null", b"[" * 100_000, b'"\\ud800"'])
def test_a_line_that_is_no_object_is_told_with_its_number(line):
    with pytest.raises(DataError, match=r"^data\.jsonl, line 3 is no JSON"):
        read_problem(line, "data.jsonl, line 3", 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("question", "prompt", "messages", "answer", "reference", "responses", "scores", "correct", "tokens")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_line_is_a_problem_or_an_error(fields):
    try:
        problem = read(**fields)
    except DataError:
        return
    assert problem.messages
    assert problem.reference
    assert len(problem.correct) in (0, len(problem.recorded))


def test_a_file_is_read_to_its_limit_and_repeated_problems_count_once(tmp_path):
    file = tmp_path / "data.jsonl"
    lines = [json.dumps({"question": f"{i % 3}?", "answer": i % 3}) for i in range(5)]
    file.write_text("\ufeff" + "\n\n".join(lines) + "\nno JSON", encoding="utf-8")
    problems, repeated = read_problems(file, limit=3)
    assert [problem.line for problem in problems] == [1, 3, 5]
    assert repeated == 0
    file.write_text("\n".join(lines))
    assert [len(found) if isinstance(found, list) else found for found in read_problems(file)] == [3, 2]
    file.write_text("\n \n")
    with pytest.raises(DataError, match=r"holds no problem\. Give it lines like"):
        read_problems(file)


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded responses are no part of the project")
def test_recorded_mathematics_and_grade_school_problems_are_read():
    recorded, _ = read_problems(SHARED / "data" / "math_rm8_first50.jsonl")
    assert {len(problem.recorded) for problem in recorded} == {8}
    assert sum(sum(problem.correct) for problem in recorded) == 375
    school, _ = read_problems(SHARED / "data" / "gsm8k_test.jsonl")
    assert "#### " in school[0].reference
