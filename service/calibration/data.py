"""Calibration data: problems with their answers, one JSON object a line, with responses where some were recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

ASKED: Final = ("question", "prompt", "messages")
EXPECTED: Final = ("answer", "reference")
SCORED: Final = ("scores", "reward")
LARGEST: Final = 1e6
"""Of a score."""

Fields = Mapping[str, Any]


class DataError(ValueError):
    """A line that cannot be used: a sentence with its number and the mend."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response: its text, its tokens, whether it ended by itself, and the verifier's score where there is one."""

    text: str
    tokens: int
    finished: bool = True
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and its right answer. `recorded`: responses that need not be drawn; `correct`: whether each is right.

    `guessed` says that the tokens of these were guessed from their characters, four a token.
    """

    line: int
    messages: tuple[Mapping[str, Any], ...]
    reference: str
    recorded: tuple[Response, ...] = ()
    correct: tuple[bool, ...] = ()
    guessed: bool = False

    @property
    def identity(self) -> str:
        """The same for the same messages and reference, wherever they stand."""
        return sha256(json.dumps([self.messages, self.reference], sort_keys=True).encode()).hexdigest()


def read_problems(path: Path, limit: int | None = None) -> tuple[list[Problem], int]:
    """The first `limit` different problems of a file, and how many lines repeat one. Raises DataError, OSError."""
    found: dict[str, Problem] = {}
    repeated = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if len(found) == limit:
                break
            if line.strip():
                problem = read_problem(line, f"{path}, line {number}", number)
                repeated += problem.identity in found
                found.setdefault(problem.identity, problem)
    if not found:
        raise DataError(f'{path} holds no problem. Give it lines like {{"question": "…", "answer": "…"}}.')
    return list(found.values()), repeated


def read_problem(line: bytes, place: str, number: int) -> Problem:
    """The problem that a line holds. Raises DataError, which begins with `place`."""
    fields = read_fields(line, place)
    try:
        recorded, guessed = _recorded(fields)
        return Problem(
            number,
            _messages(fields),
            _reference(fields),
            recorded,
            _each(fields, "correct", bool, len(recorded)),
            guessed,
        )
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def read_fields(line: bytes, place: str) -> dict[str, Any]:
    """The JSON object of a line. Raises DataError, which begins with `place`."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is no JSON. Mend it or take it out.") from error
    if not isinstance(fields, dict):
        raise DataError(f'{place} is no JSON object. Write it as {{"question": "…", "answer": "…"}}.')
    return fields


def _messages(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    name, asked = _one_of(fields, ASKED)
    if name != "messages":
        if not isinstance(asked, str) or not asked.strip():
            raise DataError(f"{name} is no text. Write the problem there.")
        return ({"role": "user", "content": asked},)
    good = isinstance(asked, list) and asked and all(isinstance(message, dict) for message in asked)
    if not good or not all({"role", "content"} <= message.keys() for message in asked):
        raise DataError('messages is no list of messages. Write [{"role": "user", "content": "…"}].')
    return tuple(asked)


def _reference(fields: Fields) -> str:
    name, reference = _one_of(fields, EXPECTED)
    if isinstance(reference, (int, float)) and not isinstance(reference, bool):
        reference = str(reference)
    if not isinstance(reference, str) or not reference.strip():
        raise DataError(f"{name} is neither a text nor a number. Write the right answer there.")
    return reference


def _one_of(fields: Fields, names: Sequence[str]) -> tuple[str, Any]:
    given = [name for name in names if fields.get(name) is not None]
    if len(given) != 1:
        has = f"has {' and '.join(given)}" if given else f"has none of {', '.join(names)}"
        raise DataError(f"the problem {has}. Give one of them.")
    return given[0], fields[given[0]]


def _recorded(fields: Fields) -> tuple[tuple[Response, ...], bool]:
    """The responses of a line, and whether their tokens are guessed."""
    texts = fields.get("responses")
    if texts is None:
        return (), False
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError("responses is no list of texts. Leave it out, and the model is asked.")
    count = len(texts)
    name = next((name for name in SCORED if fields.get(name) is not None), SCORED[0])
    scores = _each(fields, name, float, count, or_null=True) or (None,) * count
    tokens = _each(fields, "tokens", int, count)
    finished = _each(fields, "finished", bool, count) or (True,) * count
    lengths = tokens or [max(1, math.ceil(len(text) / 4)) for text in texts]
    if min(lengths) < 1:
        raise DataError("tokens holds a number below 1. Count the tokens of each response.")
    return tuple(map(Response, texts, lengths, finished, scores)), not tokens


def _each(
    fields: Fields, name: str, kind: type[bool | int | float], count: int, *, or_null: bool = False
) -> tuple[Any, ...]:
    """A value for each response, under `name`; () where there is none."""
    values = fields.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) != count:
        raise DataError(f"{name} is no list with one value for each of {count} responses. Mend it.")
    if not all(_is(value, kind) or (or_null and value is None) for value in values):
        what = {bool: "true and false", int: "whole numbers", float: "numbers up to a million"}[kind]
        raise DataError(f"{name} must hold {what}, one for each response.")
    return tuple(values)


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float) and -LARGEST <= value <= LARGEST
    return type(value) is kind
