"""The `json` format under a JSON Schema: a response that breaks the schema has no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from verifiers.formats.base import AnswerFormatError, Answers
from verifiers.formats.json_value import MOST_NESTING, nesting, read_json
from verifiers.workers import WorkerFailed, Workers

MOST_SCHEMA_CHARACTERS = 32_000
_PATTERN_BYTES = 1 << 21
"""Memory that a schema's patterns may take together when compiled, which bounds the time it takes."""
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SchemaAnswers(Answers):
    """JSON answers that must conform to `schema` (as JSON text), checked in a worker with a time limit.

    A schema from a request can take exponential time, through references that fan out. Where the check
    fails or runs out of time, no response has an answer.
    """

    schema: str
    workers: Workers

    @property
    def format(self) -> str:
        return "json"

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        answers = [read_json(content) for content in contents]
        found = list(dict.fromkeys(answer for answer in answers if answer is not None))
        if not found:
            return answers
        try:
            verdicts = await self.workers.run(conform, self.schema, found, timeout=_SECONDS)
        except WorkerFailed:
            return [None] * len(answers)
        conforming = {answer for answer, conforms in zip(found, verdicts, strict=True) if conforms}
        return [answer if answer in conforming else None for answer in answers]

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = read_json(reference)
        return [answer is not None and answer == expected for answer in answers]


def check_schema(schema: Mapping[str, Any]) -> str:
    """`schema` as JSON text. Raises AnswerFormatError where it is not a JSON Schema, or is too large."""
    try:
        text = json.dumps(schema, allow_nan=False)
        plain = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unusable("it is not JSON") from error
    if not isinstance(plain, dict):
        raise _unusable("it must be an object")
    if len(text) > MOST_SCHEMA_CHARACTERS:
        raise _unusable(f"it has {len(text)} characters, and {MOST_SCHEMA_CHARACTERS} are allowed")
    if nesting(plain) > MOST_NESTING:
        raise _unusable(f"it is nested more than {MOST_NESTING} deep")
    try:
        _compile(plain)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise _unusable(str(error).partition("\n")[0]) from error
    return text


def conform(schema: str, documents: Sequence[str]) -> list[bool]:
    """Whether each JSON document conforms to the JSON Schema. Runs in a worker."""
    validator = _compile(json.loads(schema))
    return [validator.is_valid(json.loads(document)) for document in documents]


def _compile(schema: Any) -> jsonschema_rs.Validator:
    """A validator that fetches nothing and whose patterns match in linear time."""
    limits = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES // max(1, _patterns(schema)))
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=limits)


def _patterns(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_patterns, schema))
    if not isinstance(schema, dict):
        return 0
    own = ("pattern" in schema) + len(schema.get("patternProperties", ()))
    return own + sum(map(_patterns, schema.values()))


def _unusable(reason: str) -> AnswerFormatError:
    return AnswerFormatError(
        "scaling.answer.schema",
        f"The schema cannot be used: {reason}. Send a JSON Schema whose references lie within it.",
    )
