"""What an answer format offers: a canonical answer for each response, and equality with a reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")

LONG = 100_000
"""Characters that are read in process: more would hold the event loop up."""


class AnswerFormatError(ValueError):
    """An answer format that cannot be used as asked. `param` names the field of the request."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class Answers(Protocol):
    """When two responses give the same answer. An instance belongs to one request."""

    @property
    def format(self) -> str:
        """The format's name, one of `FORMATS`."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What the format gave up on so far, a sentence each, no sentence twice."""
        ...

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        """The answer of each response (its reasoning removed), None where there is none.

        Two responses give the same answer exactly where the strings are equal, across all calls on
        this object. Never raises on any text.
        """
        ...

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        """Whether each canonical answer equals `reference`.

        The reference is a bare answer, an answer in `\\boxed{}`, or a solution that ends in `#### 42`.
        One in which the format finds no answer equals nothing.
        """
        ...

    def group(self, canonical: str) -> str:
        """What a vote counts before it counts the answers within it; the answer itself in most formats."""
        return canonical


@dataclass(frozen=True, slots=True)
class Independent(Answers):
    """A format that reads each text by itself."""

    name: str
    read: Callable[[str], str | None]
    read_reference: Callable[[str], str | None]
    warnings: list[str] = field(default_factory=list, compare=False)

    @property
    def format(self) -> str:
        return self.name

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        return await read_each(self.read, contents)

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = self.read_reference(reference)
        return [answer is not None and answer == expected for answer in answers]


async def read_each(read: Callable[[str], T], texts: Sequence[str]) -> list[T]:
    """`read` of each text, in a thread of its own where they are longer than `LONG` together."""
    if sum(map(len, texts)) > LONG:
        return await asyncio.to_thread(lambda: [read(text) for text in texts])
    return [read(text) for text in texts]


def encodable(text: str) -> str:
    """`text` with lone surrogates replaced by U+FFFD, so that it can be sent as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
