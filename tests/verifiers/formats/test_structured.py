from typing import Any

import pytest

from verifiers.formats.base import AnswerFormatError
from verifiers.formats.structured import SchemaAnswers, check_schema
from verifiers.workers import Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer"}},
    "required": ["name"],
}


async def test_a_response_that_breaks_the_schema_has_no_answer(workers: Workers) -> None:
    answers = SchemaAnswers(check_schema(PERSON), workers)
    responses = [
        '{"name": "Ada", "age": 36.0}',
        '{"age": 36}',
        "no JSON",
        '{"name": "ada"}',
        '{"age":36,"name":"Ada"}',
    ]
    ada = '{"age":36,"name":"Ada"}'
    assert await answers.canonical(responses) == [ada, None, None, None, ada]
    assert await answers.matches([ada, None, "{}"], '{"age": 36, "name": "Ada"}') == [True, False, False]


async def test_a_schema_that_takes_for_ever_leaves_no_answer(workers: Workers) -> None:
    fan = {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    answers = SchemaAnswers(
        check_schema({"$defs": {**fan, "a40": {"type": "string"}}, "$ref": "#/$defs/a0"}), workers
    )
    assert await answers.canonical(["1"]) == [None]
    assert ["took too long" in warning for warning in answers.warnings] == [True]


async def test_a_pattern_that_backtracks_elsewhere_is_linear_here(workers: Workers) -> None:
    answers = SchemaAnswers(check_schema({"pattern": "^(a+)+$"}), workers)
    assert await answers.canonical([f'"{"a" * 50_000}b"', '"aaa"']) == [None, '"aaa"']


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"pattern": "("}, "regex"),
        ({"pattern": "(?=a)b"}, "regex"),
        ({"pattern": "((a{100}){100}){100}"}, "regex"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "http"),
        ({"$ref": "file:///etc/passwd"}, "file"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"$schema": "http://127.0.0.1:9/meta"}, "meta"),
        ({"const": float("nan")}, "JSON"),
        ({"const": {1, 2}}, "JSON"),
        ({"const": "\ud800"}, "UTF-8"),
        ({"enum": ["x" * 40_000]}, "characters"),
        ({"patternProperties": 3}, "object"),
        ({"pattern": "(?:\\p{L}|\\p{N}){80}"}, "regex"),
        ({"allOf": [{"$ref": "#"}] * 9, "unevaluatedProperties": False}, "more than 8 references"),
    ],
)
async def test_what_is_no_usable_schema_is_refused_by_name(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(AnswerFormatError, match=reason) as refused:
        check_schema(schema)
    assert refused.value.param == "scaling.answer.schema"


async def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(2_000):
        schema = {"not": schema}
    with pytest.raises(AnswerFormatError):
        check_schema(schema)
