"""The `tool_call` format: the tools a response calls, and with which arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from verifiers.formats.base import Answers, read_each
from verifiers.formats.json_value import encode
from verifiers.tool_calls import parse_tool_calls


@dataclass(frozen=True, slots=True)
class ToolCallAnswers(Answers):
    """Tool calls: equal where names and arguments are, in order, arguments named in `exclude` left out.

    A vote counts the names called (`group`) before it counts the arguments.
    """

    exclude: frozenset[str] = frozenset()
    warnings: list[str] = field(default_factory=list, compare=False)

    @property
    def format(self) -> str:
        return "tool_call"

    def read(self, text: str) -> str | None:
        """The calls in `text` as a JSON object, or an array where there are several; None for none."""
        _, calls = parse_tool_calls(text)
        shown = [
            {
                "name": call.name,
                "arguments": {key: value for key, value in call.arguments.items() if key not in self.exclude},
            }
            for call in calls
        ]
        return encode(shown[0] if len(shown) == 1 else shown) if shown else None

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        return await read_each(self.read, contents)

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = self.read(reference)
        return [answer is not None and answer == expected for answer in answers]

    def group(self, canonical: str) -> str:
        """The names of the tools called, in order, as JSON."""
        calls = json.loads(canonical)
        return encode([call["name"] for call in (calls if isinstance(calls, list) else [calls])])
