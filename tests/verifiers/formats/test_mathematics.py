import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.mathematics import MathAnswers, looks_like_math, normal, read_math
from verifiers.workers import WorkerFailed, Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDED = Path(__file__).parents[4] / "shared/data/math_rm8_first50.jsonl"


class Refusing(Workers):
    """Workers in which every call fails, and is counted."""

    calls = 0

    async def run(self, function: Callable[..., Any], *arguments: Any, timeout: float) -> Any:
        self.calls += 1
        raise WorkerFailed("refused")


def boxed(*answers: str) -> list[str]:
    return [f"So it is \\boxed{{{answer}}}." for answer in answers]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{\\dfrac{1}{9}}.", "\\dfrac{1}{9}"),
        ("work\n#### 42", "42"),
        ("The answer is $x = 5$, as shown.", "x = 5"),
        ("The answer is $1$ and $2$.", "1, 2"),
        ("The answer is 5 + 3 = 8.", "8"),
        ("The answer is 4 apples.", "4 apples"),
        ("\\frac{3}{8}", "\\frac{3}{8}"),
        ("Adding $x$ to both sides gives $y = 4$ in the end.", "y = 4"),
        ("She has 3 and gets 4 more, which makes 7 in total.", "7"),
        ("no expression at all", None),
        ("", None),
    ],
)
async def test_the_final_expression_is_read_as_written(response: str, answer: str | None) -> None:
    assert read_math(response) == answer


@pytest.mark.parametrize(
    "ways",
    [
        ("\\frac{1}{9}", "\\dfrac{1}{9}", "\\tfrac19", "1/9"),
        ("1\\frac{1}{10}", "1 \\frac{1}{10}", "1.1", "\\frac{11}{10}"),
        ("1000", "1,000", "1{,}000", "\\$1000", "1000 \\text{ cm}^2", "1e3"),
        ("0.333333", "1/3"),
        ("(1,\\,2)", "\\left( 1, 2 \\right)", "$(1, 2)$"),
        ("\\text{yes}", "\\textbf{yes}"),
    ],
)
async def test_plain_numbers_and_like_expressions_need_no_worker(ways: tuple[str, ...]) -> None:
    workers = Refusing()
    assert set(await MathAnswers(workers).canonical(boxed(*ways))) == {ways[0]}
    assert workers.calls == 0


@pytest.mark.parametrize(
    ("ways", "other"),
    [
        (("4a-2", "2(2a-1)", "-2+4a"), "4a+2"),
        (("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt2}"), "\\frac{\\sqrt{3}}{2}"),
        (("x = 5", "5"), "6"),
        (("1, 2", "2, 1", "\\{1,2\\}"), "1, 3"),
        (("[1,2)", "[1, 2)"), "(1,2]"),
        (("50\\%", "50"), "51"),
        (("4t", "t\\cdot 4"), "4"),
        (("3\\sqrt{2}\\text{ cm}", "3\\sqrt{2}"), "3\\sqrt{3}"),
        (("4:30 \\text{ a.m.}",), "4:30 \\text{ p.m.}"),
        (
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"),
            "\\begin{pmatrix}2\\\\1\\end{pmatrix}",
        ),
    ],
)
async def test_equal_expressions_go_by_the_first_of_them(
    workers: Workers, ways: tuple[str, ...], other: str
) -> None:
    answers = MathAnswers(workers)
    assert await answers.canonical(boxed(*ways, other, *ways)) == [
        *[ways[0]] * len(ways),
        other,
        *[ways[0]] * len(ways),
    ]
    assert await answers.matches([ways[0], other, None], f"\\boxed{{{ways[-1]}}}") == [True, False, False]


async def test_calls_that_overlap_share_their_classes(workers: Workers) -> None:
    answers = MathAnswers(workers)
    both = await asyncio.gather(
        *(answers.canonical(boxed(way)) for way in ("(x+1)^2", "x^2+2x+1", "(1+x)^2"))
    )
    assert len({answer for [answer] in both}) == 1


async def test_a_reference_is_bare_or_boxed_or_ends_a_solution(workers: Workers) -> None:
    answers = MathAnswers(workers)
    for reference in ("\\frac{3}{8}", "$\\frac38$", "\\boxed{0.375}", "Three of eight.\n#### 3/8"):
        assert await answers.matches(["3/8", "3/4", None], reference) == [True, False, False]


async def test_an_expression_that_cannot_be_computed_is_an_answer_of_its_own(workers: Workers) -> None:
    huge = "9^{9^{9^{9}}}"
    assert await MathAnswers(workers).canonical(boxed("3", huge, huge, "3")) == ["3", huge, huge, "3"]


async def test_after_a_few_failures_workers_are_asked_no_more() -> None:
    workers = Refusing()
    distinct = [f"x^{power}" for power in range(20)]
    answers = MathAnswers(workers)
    assert await answers.canonical(boxed(*distinct)) == distinct
    assert workers.calls == 3
    assert ["failed" in answers.warnings[0], "After 3 failures" in answers.warnings[1]] == [True, True]
    assert len(answers.warnings) == 2


async def test_normal_form_keeps_the_space_that_separates_numbers() -> None:
    assert normal("1 1/2") == "1 1/2"
    assert normal("\\left[ 1 , 2 \\right)") == "[1,2)"


async def test_prose_does_not_look_like_mathematics() -> None:
    expressions = ["x = 4", "\\text{if } x > 0", "4a-2", "15"]
    prose = ["there were about 40 of them", "Paris", "two lines\nx = 4"]
    assert [text for text in expressions + prose if looks_like_math(text)] == expressions


@given(st.text(st.characters(exclude_categories=())) | st.text("\\boxed{}$()[]frac^_=+-1234x \n"))
async def test_any_text_is_read_without_error_into_text_that_can_be_sent(text: str) -> None:
    answer = read_math(text)
    if answer is not None:
        answer.encode()
        normal(answer)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["$x", "\\(", "~", "\\frac{1}", "answer is 1 +", "\\text{", "\\boxed{$"])
async def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    read_math(piece * (1_000_000 // len(piece)))


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded responses are not here")
async def test_recorded_responses_are_judged_as_recorded_and_majority_is_right_on_48_of_50(
    workers: Workers,
) -> None:
    right = 0
    for line in RECORDED.read_text().splitlines():
        problem = json.loads(line)
        answers = MathAnswers(workers)
        canonical = await answers.canonical(problem["responses"])
        verdicts = await answers.matches(canonical, problem["answer"])
        assert verdicts == problem["correct"], problem["answer"]
        votes = Counter(canonical)
        right += verdicts[max(range(len(canonical)), key=lambda index: votes[canonical[index]])]
    assert right == 48
