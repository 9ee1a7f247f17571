"""Tool calls in a model's raw text, as the common chat templates have models write them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from verifiers.formats.json_value import decode

_MARK = re.compile(r"<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>")
_NAMED = re.compile(r"\s*([\w.-]{1,64})(?:\[ARGS\])?\s*(?=\{)")
_NEXT = re.compile(r"[\s;,]*(?=[{\[])")
_END = re.compile(r"\s*(?:</tool_call>|<\|eom_id\|>|<\|eot_id\|>)")
_MOST_UNREADABLE = 8


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of the tool `name` with a JSON object of arguments."""

    name: str
    arguments: dict[str, Any]


def parse_tool_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """What `text` says besides its tool calls, and the calls in order.

    Read are the forms of Hermes and Qwen (`<tool_call>{…}</tool_call>`), Mistral (`[TOOL_CALLS] [{…}]` and
    `[TOOL_CALLS]name{…}`) and Llama 3 (`<|python_tag|>{…}`), and a text that is nothing but a call or a list
    of calls. A call has a `name` and `arguments` (or `parameters`); what is no call stays in the text.
    """
    with suppress(ValueError):
        bare = text.strip()
        value, end = decode(bare)
        if end == len(bare):
            return "", _calls_in(value)
    kept: list[str] = []
    calls: list[ToolCall] = []
    done = unreadable = 0
    while unreadable < _MOST_UNREADABLE and (mark := _MARK.search(text, done)):
        found, end = _calls_from(text, mark.end())
        kept.append(text[done : mark.start() if found else end])
        calls += found
        unreadable += not found
        done = end
    return "".join((*kept, text[done:])).strip(), tuple(calls)


def _calls_from(text: str, start: int) -> tuple[list[ToolCall], int]:
    """The calls that stand one after another at `start`, and where they end."""
    found: list[ToolCall] = []
    done = start
    with suppress(ValueError):
        if named := _NAMED.match(text, start):
            arguments, done = decode(text, named.end())
            found += _calls_in({"name": named[1], "arguments": arguments})
        while following := _NEXT.match(text, done if found else start):
            value, end = decode(text, following.end())
            found += _calls_in(value)
            done = end
    end_mark = _END.match(text, done) if found else None
    return found, end_mark.end() if end_mark else done


def _calls_in(value: Any) -> tuple[ToolCall, ...]:
    """The call or calls that a JSON value is. Raises ValueError where it is none."""
    if isinstance(value, list) and value:
        return tuple(call for one in value for call in _calls_in(one))
    if isinstance(value, dict):
        value = value.get("function", value)
    if not isinstance(value, dict):
        raise ValueError("not a tool call")
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments, _ = decode(arguments.strip() or "{}")
    name = value.get("name")
    if not (isinstance(name, str) and name and isinstance(arguments, dict)):
        raise ValueError("not a tool call")
    return (ToolCall(name, arguments),)
