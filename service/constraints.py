"""What a request asks of sampling, in the engine's fields."""

from __future__ import annotations

from typing import Any

from service.errors import unreadable
from service.schemas import ChatRequest, NamedTool
from verifiers.answers import AnswerFormatError
from verifiers.formats.structured import check_schema

PASSED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "thinking_token_budget",
    "user",
)


def sampling_fields(request: ChatRequest) -> dict[str, Any]:
    """The engine's sampling fields; what the request leaves out stays the model's default. Raises ApiError."""
    fields = {name: value for name in PASSED if (value := getattr(request, name)) is not None}
    constraint = _constraint(request)
    if constraint:
        fields["structured_outputs"] = constraint
    return fields


def _constraint(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format
    forced = request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
    if forced and wanted and wanted.type != "text":
        message = "tool_choice and response_format both fix the form of the answer. Give one of them."
        raise unreadable(message, "response_format")
    if forced:
        return {"json": _call_schema(request)}
    if wanted and wanted.type != "json_schema" and wanted.json_schema is not None:
        message = (
            f"response_format.json_schema is not of the type {wanted.type}. Leave it out, or use json_schema."
        )
        raise unreadable(message, "response_format.json_schema")
    if wanted and wanted.type == "json_object":
        return {"json_object": True}
    if wanted and wanted.type == "json_schema":
        if wanted.json_schema is None:
            message = "response_format.json_schema is missing. Add it, or use the type json_object."
            raise unreadable(message, "response_format.json_schema", "missing_parameter")
        return {"json": _schema(wanted.json_schema.json_schema, "response_format.json_schema.schema")}
    return None


def _schema(schema: dict[str, Any], param: str) -> dict[str, Any]:
    try:
        check_schema(schema)
    except AnswerFormatError as error:
        raise unreadable(f"{param}: {error}", param, "invalid_schema") from error
    return schema


def _call_schema(request: ChatRequest) -> dict[str, Any]:
    """A schema that any call of the tools to choose from meets."""
    tools = request.tools or []
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
    if not tools:
        raise unreadable(
            "tool_choice asks for a tool that tools does not hold. Add it to tools.", "tool_choice"
        )
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.function.name},
                "arguments": _schema(
                    tool.function.parameters or {"type": "object"}, f"tools.{i}.function.parameters"
                ),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for i, tool in enumerate(tools)
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}
