import random

import pytest

from service.calibration.data import Response
from service.calibration.grading import grade, readable
from tests.service.calibration.problems import graded, problem
from verifiers.workers import Workers


@pytest.fixture
async def workers():
    made = Workers(1)
    yield made
    await made.close()


def responses(*texts: str) -> list[Response]:
    return [Response(text, i + 1, True, float(i)) for i, text in enumerate(texts)]


async def test_responses_are_right_where_their_answer_is_the_reference(workers):
    texts = responses("<think>14</think>It is 15.", "14", "\\boxed{15}", "who knows")
    found, warnings = await grade(problem(reference="7 + 8 = 15\n#### 15"), texts, "number", workers)
    told = {response.text: right for response, right in zip(found.responses, found.right, strict=True)}
    assert told == {text.text: flag for text, flag in zip(texts, [True, False, True, False], strict=True)}
    assert {a for a, r in zip(found.answers, found.responses, strict=True) if r.text == "who knows"} == {None}
    assert warnings == []


async def test_equal_mathematics_is_one_right_answer(workers):
    texts = responses("$\\frac{1}{2}$", "0.5", "\\boxed{\\frac{2}{4}}", "$\\frac{1}{3}$")
    found, _ = await grade(problem(reference="\\dfrac{1}{2}"), texts, "math", workers)
    assert sum(found.right) == 3
    assert len(set(found.answers)) == 2


async def test_recorded_grades_stay_with_their_responses(workers):
    texts = responses(*(str(i) for i in range(12)))
    marked = problem(recorded=tuple(texts), correct=tuple(i % 3 == 0 for i in range(12)))
    found, _ = await grade(marked, texts, "number", workers)
    assert all(right == (int(r.text) % 3 == 0) for r, right in zip(found.responses, found.right, strict=True))


async def test_the_order_says_nothing_of_the_responses_and_is_the_same_again(workers):
    """The service gives the best first, and what is fitted goes by places."""
    first = []
    for i in range(200):
        found, _ = await grade(problem(i), responses("15", "15", "14", "14"), "number", workers)
        again, _ = await grade(problem(i), responses("15", "15", "14", "14"), "number", workers)
        assert found == again
        first.append(found.right[0])
    assert 70 < sum(first) < 130


def test_measurements_name_equal_answers_alike_and_tell_nothing_else():
    one = graded([True, True, False, False], ["15", "15", "a long text", None], scores=[0.1, 0.2, 0.3, None])
    told = one.measurements(scored=True)
    assert [sample["answer"] for sample in told] == ["0", "0", "1", None]
    assert told[2] == {"right": False, "tokens": 12, "finished": True, "answer": "1", "score": 0.3}
    assert {sample["score"] for sample in one.measurements(scored=False)} == {None}


@pytest.mark.parametrize(
    ("reference", "format", "is_one"),
    [
        ("15", "number", True),
        ("so it is 15\n#### 15", "number", True),
        ("\\boxed{15}", "number", True),
        ("\\frac{1}{2}", "math", True),
        ("x^2 + 1", "math", True),
        ("B", "choice", True),
        ('{"a": 1}', "json", True),
        ("blue", "text", True),
        ("blue", "number", False),
        ("blue", "json", False),
        ("seven", "choice", False),
    ],
)
async def test_a_reference_that_no_response_could_equal_is_found_beforehand(
    workers, reference, format, is_one
):
    assert await readable(problem(reference=reference), format, workers) == is_one


async def test_random_texts_are_graded_whatever_they_hold(workers):
    rng = random.Random(0)
    texts = ["".join(chr(rng.choice([*range(128), 0x2028, 0xD800])) for _ in range(40)) for _ in range(20)]
    for format in ("auto", "number", "choice", "json", "text"):
        found, _ = await grade(problem(), responses(*texts), format, workers)
        assert len(found.right) == 20


def test_an_answer_that_is_called_right_and_wrong_counts_as_two():
    told = graded([True, False, True, False], ["a", "a", "b", None]).measurements(scored=False)
    assert [one["answer"] for one in told] == ["0", "1", "2", None]
