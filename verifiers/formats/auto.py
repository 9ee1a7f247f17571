"""The `auto` format: tool calls, JSON, numbers, options, mathematics or text, whichever a response gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from verifiers.formats import extract, numerals
from verifiers.formats.base import Answers, read_each
from verifiers.formats.json_value import decode, encode
from verifiers.formats.mathematics import SHORT, MathAnswers, looks_like_math, tidy
from verifiers.formats.text import read_text
from verifiers.formats.tool_call import ToolCallAnswers
from verifiers.workers import Workers

_OPTION = re.compile(r"\(?([A-J])\)?|\(([A-J])\)\s.*|([A-J])[.)]\s.*")
_WORDS = re.compile(r"\\text(?:bf|it|rm)?\s?\{([^{}]*)\}")
_HEDGED = re.compile(r"(?:about|approximately|around|roughly|exactly|only|just)\s+(?=[-+$\d])", re.IGNORECASE)


class _Reading(NamedTuple):
    kind: Literal["calls", "expression", "plain"]
    answer: str


class AutoAnswers(Answers):
    """Reads each response by its own form, so that `\\boxed{4}`, "The answer is 4." and "4" agree.

    In this order: tool calls, where the request has tools; a JSON object; what is boxed, follows `####` or
    "the answer is"; a response that is nothing but a number or an option; a number or formula that ends the
    last line; the whole text. What is found is a number, an option letter, an expression (`math`) or text.
    """

    def __init__(self, workers: Workers, tool_calls: ToolCallAnswers | None) -> None:
        self._math = MathAnswers(workers)
        self._tool_calls = tool_calls
        self._calls: set[str] = set()

    @property
    def format(self) -> str:
        return "auto"

    @property
    def warnings(self) -> list[str]:
        return self._math.warnings

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        return [await self._canonical(reading) for reading in await read_each(self._read, contents)]

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = self._read(reference)
        if expected is None:
            return [False] * len(answers)
        if expected.kind == "expression":
            expressions = [answer if answer and looks_like_math(answer) else None for answer in answers]
            return await self._math.matches(expressions, expected.answer)
        return [answer == expected.answer for answer in answers]

    def group(self, canonical: str) -> str:
        """The names of the tools called; any other answer itself."""
        if self._tool_calls is None or canonical not in self._calls:
            return canonical
        return self._tool_calls.group(canonical)

    async def _canonical(self, reading: _Reading | None) -> str | None:
        if reading is None:
            return None
        if reading.kind == "calls":
            self._calls.add(reading.answer)
        return await self._math.classify(reading.answer) if reading.kind == "expression" else reading.answer

    def _read(self, text: str) -> _Reading | None:
        if self._tool_calls is not None and (calls := self._tool_calls.read(text)):
            return _Reading("calls", calls)
        if found := _json_object(text):
            return _Reading("plain", found)
        if held := extract.boxed(text) or extract.hashed(text):
            return _judged(held)
        if said := extract.stated(text):
            return _judged(_said(said))
        return _unmarked(text)


def _json_object(text: str) -> str | None:
    whole = text.strip().removeprefix("```json").removesuffix("```").strip()
    if not whole.startswith("{"):
        return None
    try:
        value, end = decode(whole)
    except ValueError:
        return None
    return encode(value) if end == len(whole) else None


def _judged(answer: str) -> _Reading | None:
    """What an answer found in a response is: a number, an option, words, an expression, or text."""
    written = tidy(answer)
    if written is None:
        return None
    value = numerals.exact(written)
    if value is not None:
        return _Reading("expression", written if "\\" in written else numerals.show(value))
    if option := _OPTION.fullmatch(written):
        return _Reading("plain", option[1] or option[2] or option[3])
    if words := _WORDS.fullmatch(written):
        return _judged(words[1])
    if looks_like_math(written):
        return _Reading("expression", written)
    return _text(written)


def _said(said: str) -> str:
    """The answer at the start of what follows "the answer is"."""
    if formulas := extract.leading_formulas(said):
        return formulas
    said = _HEDGED.sub("", extract.after_working(said), count=1)
    value = numerals.leading(said)
    return numerals.show(value) if value is not None else said


def _unmarked(text: str) -> _Reading | None:
    """The answer in a response that does not say where it is."""
    text = text.strip()
    value = numerals.exact(text)
    if value is None:
        value = numerals.ending(text)
    if value is not None:
        return _Reading("expression", numerals.show(value))
    if text.rstrip(" .*").endswith(("$", "\\)", "\\]")) and (formula := extract.last_formula(text)):
        return _judged(formula)
    return _judged(text) if len(text) <= SHORT and "\n" not in text else _text(text)


def _text(written: str) -> _Reading | None:
    answer = read_text(written)
    return _Reading("plain", answer) if answer else None
