"""When two answers are the same: one format per file in `formats/`, made here by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verifiers.formats.auto import AutoAnswers
from verifiers.formats.base import AnswerFormatError, Answers, Independent
from verifiers.formats.choice import read_choice
from verifiers.formats.json_value import read_json
from verifiers.formats.mathematics import MathAnswers
from verifiers.formats.number import read_number
from verifiers.formats.pattern import RegexAnswers, check_pattern
from verifiers.formats.structured import SchemaAnswers, check_schema
from verifiers.formats.text import read_reference, read_text
from verifiers.formats.tool_call import ToolCallAnswers
from verifiers.workers import Workers

__all__ = ["FORMATS", "AnswerFormatError", "Answers", "make_answers"]

FORMATS = ("auto", "math", "number", "choice", "json", "text", "regex", "tool_call")


def make_answers(
    format: str,
    *,
    workers: Workers,
    pattern: str | None = None,
    group: int | str | None = None,
    schema: Mapping[str, Any] | None = None,
    exclude: Sequence[str] = (),
    tools: bool = False,
) -> Answers:
    """The answers of one request, in one of `FORMATS`.

    `regex` needs a `pattern` and may name a `group` of it; `json` may have a JSON `schema`; `tool_call`, and
    `auto` where the request has `tools`, may `exclude` arguments by name. Raises AnswerFormatError for an
    unknown format, an option that is missing, unusable or of another format.
    """
    if format not in FORMATS:
        raise AnswerFormatError(
            "scaling.answer.format",
            f"There is no answer format {format!r}. The formats are {', '.join(FORMATS)}.",
        )
    given = {"pattern": pattern, "group": group, "schema": schema, "exclude": exclude or None}
    owners = {
        "pattern": ("regex",),
        "group": ("regex",),
        "schema": ("json",),
        "exclude": ("tool_call", "auto"),
    }
    for option, formats in owners.items():
        if given[option] is not None and format not in formats:
            raise AnswerFormatError(
                f"scaling.answer.{option}",
                f"{option!r} is an option of the format {' or '.join(formats)} alone. Leave it out.",
            )
    tool_calls = ToolCallAnswers(frozenset(exclude))
    match format:
        case "math":
            return MathAnswers(workers)
        case "number":
            return Independent("number", read_number, read_number)
        case "choice":
            return Independent("choice", read_choice, read_choice)
        case "json" if schema is not None:
            return SchemaAnswers(check_schema(schema), workers)
        case "json":
            return Independent("json", read_json, read_json)
        case "text":
            return Independent("text", read_text, read_reference)
        case "regex":
            if pattern is None:
                raise AnswerFormatError("scaling.answer.pattern", "The format 'regex' needs a pattern.")
            return RegexAnswers(pattern, check_pattern(pattern, group), workers)
        case "tool_call":
            return tool_calls
        case _:
            return AutoAnswers(workers, tool_calls if tools else None)
