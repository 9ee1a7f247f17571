"""The `json` format under a JSON Schema: a response that breaks the schema has no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from verifiers.formats.base import AnswerFormatError, Answers, read_each
from verifiers.formats.json_value import MOST_NESTING, nesting, read_json
from verifiers.workers import WorkerFailed, Workers

MOST_SCHEMA_CHARACTERS = 32_000
_PATTERN_BYTES = 1 << 20
"""Memory that a schema's patterns may take together when compiled, which bounds the time it takes to some ms."""
_MOST_UNEVALUATED_REFERENCES = 8
_SECONDS = 2.0
_GAVE_UP = (
    "The check by the schema took too long or too much memory: the responses it was to check have no answer."
)


@dataclass(frozen=True, slots=True)
class SchemaAnswers(Answers):
    """JSON answers that must conform to `schema` (as JSON text), checked in a worker with a time limit.

    A schema from a request can take exponential time, through references that fan out. Where the check
    fails or runs out of time, no response has an answer.
    """

    schema: str
    workers: Workers
    warnings: list[str] = field(default_factory=list, compare=False)

    @property
    def format(self) -> str:
        return "json"

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        answers = await read_each(read_json, contents)
        found = list(dict.fromkeys(answer for answer in answers if answer is not None))
        if not found:
            return answers
        try:
            verdicts = await self.workers.run(conform, self.schema, found, timeout=_SECONDS)
        except WorkerFailed:
            if _GAVE_UP not in self.warnings:
                self.warnings.append(_GAVE_UP)
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
    except (TypeError, ValueError, RecursionError) as error:
        raise _unusable("it is not JSON") from error
    if len(text) > MOST_SCHEMA_CHARACTERS:
        raise _unusable(f"it has {len(text)} characters, and {MOST_SCHEMA_CHARACTERS} are allowed")
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable("it cannot be read back") from error
    if not isinstance(plain, dict):
        raise _unusable("it must be an object")
    if nesting(plain) > MOST_NESTING:
        raise _unusable(f"it is nested more than {MOST_NESTING} deep")
    if _fans_out(plain):
        raise _unusable(
            f"it has unevaluatedProperties or unevaluatedItems and more than {_MOST_UNEVALUATED_REFERENCES}"
            " references, which takes too long"
        )
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
    named = (part.get("patternProperties") for part in _objects(schema))
    return sum("pattern" in part for part in _objects(schema)) + sum(
        len(one) for one in named if isinstance(one, dict)
    )


def _fans_out(schema: Any) -> bool:
    """Whether compiling may take exponential time: `unevaluated…` follows references, and theirs, each time anew."""
    keys = [key for part in _objects(schema) for key in part]
    references = sum(key in ("$ref", "$dynamicRef", "$recursiveRef") for key in keys)
    return references > _MOST_UNEVALUATED_REFERENCES and any(key.startswith("unevaluated") for key in keys)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _unusable(reason: str) -> AnswerFormatError:
    return AnswerFormatError(
        "scaling.answer.schema",
        f"The schema cannot be used: {reason}. Send a JSON Schema whose references lie within it.",
    )
