import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.auto import AutoAnswers
from verifiers.formats.tool_call import ToolCallAnswers
from verifiers.workers import Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")

GSM8K = Path(__file__).parents[4] / "shared/data/gsm8k_test.jsonl"


@pytest.mark.parametrize(
    ("answer", "ways"),
    [
        (
            "4",
            (
                "so \\boxed{4}",
                "The answer is 4.",
                "4",
                "**4**",
                "work\n#### 4",
                "2 + 2 = 4",
                "She has 4 apples.",
                "The answer is 4 because two and two make four.",
                "The answer is: $4$ dollars.",
                "The answer is approximately 4.0 km",
                "Thus\n\\[\n4\n\\]",
                "First 2.\nThen 2.\nTotal: 4",
                "\\boxed{\\text{4}}",
                "Therefore, $x = 4$.",
            ),
        ),
        ("1000", ("1,000", "$1,000", "\\boxed{\\$1000}", "The total cost is $1,000.00.")),
        ("\\frac{3}{8}", ("\\boxed{\\frac{3}{8}}", "The answer is 3/8.", "0.375", "It is $\\frac{3}{8}$.")),
        ("(x+1)^2", ("\\boxed{(x+1)^2}", "\\boxed{x^2+2x+1}", "The answer is $(1+x)^2$.")),
        (
            "B",
            (
                "B",
                "(B)",
                "The answer is (B).",
                "\\boxed{B}",
                "Answer: B. Paris",
                "\\boxed{\\textbf{(B)}}",
                "**B**",
            ),
        ),
        ("paris", ("Paris", "The answer is Paris.", "\\boxed{\\text{Paris}}", "**Paris**", "Answer: paris")),
        ('{"a":1,"b":2}', ('{"a": 1.0, "b": 2}', '```json\n{"b": 2, "a": 1}\n```')),
        ("a day to remember", ("A day to remember.", "a day  to remember")),
        (None, ("", " \n", "...")),
    ],
)
async def test_responses_of_different_forms_agree(
    workers: Workers, answer: str | None, ways: tuple[str, ...]
) -> None:
    answers = AutoAnswers(workers, None)
    assert dict(zip(ways, await answers.canonical(ways), strict=True)) == dict.fromkeys(ways, answer)


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("4", "\\boxed{4.0}", "The answer is 5."),
        ("work\n#### 1,000", "$1000", "1001"),
        ("\\boxed{x^2 - 1}", "The answer is $(x-1)(x+1)$.", "The answer is $(x-1)^2$."),
        ("(B)", "The answer is B.", "Paris"),
        ("Paris", "**Paris**", "4"),
        ('{"a": 1}', '{"a": 1.0}', '{"a": 2}'),
    ],
)
async def test_a_reference_is_read_as_a_response_is(
    workers: Workers, reference: str, right: str, wrong: str
) -> None:
    answers = AutoAnswers(workers, None)
    assert await answers.matches(await answers.canonical([right, wrong, ""]), reference) == [
        True,
        False,
        False,
    ]


async def test_tool_calls_count_where_the_request_has_tools(workers: Workers) -> None:
    call = '<tool_call>{"name": "f", "arguments": {"x": 1, "id": 2}}</tool_call>'
    answers = AutoAnswers(workers, ToolCallAnswers(frozenset({"id"})))
    called = '{"arguments":{"x":1},"name":"f"}'
    assert await answers.canonical([call, "The answer is 4."]) == [called, "4"]
    assert answers.group(called) == '["f"]'
    assert answers.group("4") == "4"
    assert await answers.matches([called, "4", None], call) == [True, False, False]
    without_tools = AutoAnswers(workers, None)
    assert await without_tools.canonical([call, called]) != [called, called]
    assert without_tools.group(called) == called


@given(
    st.text(st.characters(exclude_categories=())) | st.text("\\boxed{}$()[]<tool_ca>\"':frac^=+-1234xAB \n.")
)
async def test_any_text_is_read_without_error_into_text_that_can_be_sent(text: str) -> None:
    answers = AutoAnswers(Workers(), ToolCallAnswers())
    [answer] = await answers.canonical([text])
    if answer is not None:
        answer.encode()
        answers.group(answer)


@given(
    st.fractions(-(10**9), 10**9, max_denominator=1000)
    | st.sampled_from(["Paris", "B", "\\sqrt{2}", "x + 1"])
)
async def test_an_answer_reads_as_itself(value: object) -> None:
    answers = AutoAnswers(Workers(), None)
    [answer] = await answers.canonical([f"So it is \\boxed{{{value}}}."])
    assert answer is not None
    assert await answers.canonical([answer]) == [answer]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["```", "<tool_call>{", "[TOOL_CALLS][1,", "{", "\\boxed{", "1=", "$x", "answer is (", " "]
)
async def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    await AutoAnswers(Workers(), ToolCallAnswers()).canonical([piece * (1_000_000 // len(piece))])


@pytest.mark.skipif(not GSM8K.exists(), reason="the problems are not here")
async def test_solutions_of_word_problems_match_their_own_references(workers: Workers) -> None:
    for line in GSM8K.read_text().splitlines()[:300]:
        solution = json.loads(line)["answer"]
        answers = AutoAnswers(workers, None)
        final = solution.rpartition("####")[2].strip()
        ways = await answers.canonical([solution, f"The answer is {final}.", f"So it is \\boxed{{{final}}}."])
        assert await answers.matches(ways, solution) == [True, True, True], final
