from typing import Any

import pytest

from verifiers.answers import FORMATS, AnswerFormatError, make_answers
from verifiers.workers import Workers

NEEDED: dict[str, dict[str, Any]] = {"regex": {"pattern": "(\\d+)"}}


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_is_made_by_name(name: str) -> None:
    answers = make_answers(name, workers=Workers(), **NEEDED.get(name, {}))
    assert answers.format == name
    assert await answers.canonical([]) == []
    assert await answers.matches([], "4") == []


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "tool_call"])
def test_formats_other_than_tool_calls_group_nothing(name: str) -> None:
    assert make_answers(name, workers=Workers(), **NEEDED.get(name, {})).group("4") == "4"


@pytest.mark.parametrize("name", ["number", "choice", "text", "json"])
async def test_no_answer_equals_no_reference(name: str) -> None:
    answers = make_answers(name, workers=Workers())
    assert await answers.matches([None, None], "") == [False, False]


@pytest.mark.parametrize(
    ("arguments", "param", "mend"),
    [
        ({"format": "maths"}, "format", "auto, math, number"),
        ({"format": "regex"}, "pattern", "needs a pattern"),
        ({"format": "regex", "pattern": "("}, "pattern", "RE2"),
        ({"format": "regex", "pattern": "a", "group": 1}, "group", "0 is the whole match"),
        ({"format": "number", "pattern": "a"}, "pattern", "Leave it out"),
        ({"format": "math", "group": 1}, "group", "Leave it out"),
        ({"format": "text", "schema": {}}, "schema", "Leave it out"),
        ({"format": "json", "schema": {"type": "objekt"}}, "schema", "Send a JSON Schema"),
        ({"format": "json", "exclude": ["id"]}, "exclude", "Leave it out"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_with_the_mend(
    arguments: dict[str, Any], param: str, mend: str
) -> None:
    with pytest.raises(AnswerFormatError, match=mend) as refused:
        make_answers(workers=Workers(), **arguments)
    assert refused.value.param == f"scaling.answer.{param}"


async def test_votes_on_tool_calls_leave_out_what_is_excluded() -> None:
    answers = make_answers("auto", workers=Workers(), tools=True, exclude=["id"])
    calls = [f'{{"name": "f", "arguments": {{"x": 1, "id": {number}}}}}' for number in range(3)]
    assert set(await answers.canonical(calls)) == {'{"arguments":{"x":1},"name":"f"}'}
