"""The `math` format: mathematical expressions, equal where math-verify finds them so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from verifiers.formats import extract, numerals
from verifiers.formats.base import Answers, encodable, read_each
from verifiers.formats.latex_equality import equal, first_equal
from verifiers.workers import WorkerFailed, Workers

T = TypeVar("T")

SHORT = 200
"""Characters of a response that may be an answer and nothing else."""
_SECONDS = 3.0
_MOST_FAILURES = 3
_MOST_COMPARED = 64
_SAME_DECIMALS = 6

_SPACING = re.compile(
    r"(?<!\\)\\(?:[,;:!> ]|q?quad(?![A-Za-z])|(?:left|right|displaystyle)(?![A-Za-z]))|~|\s+"
)
_LOOSE_SPACE = re.compile(r" (?![0-9A-Za-z])|(?<![0-9A-Za-z]) ")
_SYNONYMS = (
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\textbf{", "\\text{"),
    ("$", ""),
)
_LAST_UNIT = re.compile(r"(?<=[\d})])\s*\\(?:text|textrm|mathrm|mbox)\s?\{[^{}]*\}(?:\^\d|\^\{\d\})?$")
_AROUND = " \t\r\n$*`"
_AFTER = _AROUND + ".,;:"
_SIGNS = re.compile(r"\\[A-Za-z]|[\d=^<>+*/]")
_PROSE = re.compile(r"[A-Za-z]{3,} [A-Za-z]{3,}")


@dataclass(frozen=True, slots=True)
class _Expression:
    """An answer as written, its normal form, and its value where it is a plain number."""

    written: str
    normal: str
    value: Fraction | None

    @classmethod
    def of(cls, written: str) -> _Expression:
        value = numerals.exact(written)
        return cls(written, normal(written) if value is None else numerals.show(value), value)

    def is_close_to(self, other: _Expression) -> bool:
        """Whether two numbers, one of them a decimal, agree to six places, as math-verify has it."""
        if self.value is None or other.value is None or "." not in self.normal + other.normal:
            return False
        return round(self.value, _SAME_DECIMALS) == round(other.value, _SAME_DECIMALS) != 0

    def needs_algebra(self, other: _Expression) -> bool:
        return self.value is None or other.value is None


class MathAnswers(Answers):
    """Mathematical answers. Each class of equal ones goes by the first seen of them, as written.

    Plain numbers and identical expressions are compared in process, the others in workers with a time and a
    memory limit. An answer whose comparison fails equals only those written like it; after a few failures
    no more comparisons are tried, so that one request cannot hold the workers.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._classes: list[_Expression] = []
        self._known: dict[str, str] = {}
        self._failures = 0
        self._warnings: list[str] = []
        self._lock = asyncio.Lock()

    @property
    def format(self) -> str:
        return "math"

    @property
    def warnings(self) -> list[str]:
        return self._warnings

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        return [await self.classify(read) if read else None for read in await read_each(read_math, contents)]

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = _Expression.of(read_reference(reference))
        verdicts = {
            answer: await self._equal(expected, answer) for answer in set(answers) if answer is not None
        }
        return [answer is not None and verdicts[answer] for answer in answers]

    async def classify(self, written: str) -> str:
        """The first seen answer that equals `written`: itself where none does."""
        if written in self._known:
            return self._known[written]
        async with self._lock:
            answer = _Expression.of(written)
            if answer.normal not in self._known:
                self._known[answer.normal] = (await self._class_of(answer)).written
            self._known[written] = self._known[answer.normal]
            return self._known[written]

    async def _class_of(self, answer: _Expression) -> _Expression:
        for other in self._classes:
            if answer.is_close_to(other):
                return other
        others = [other for other in self._classes if answer.needs_algebra(other)][:_MOST_COMPARED]
        index = (
            await self._try(first_equal, answer.normal, [other.normal for other in others])
            if others
            else None
        )
        if index is not None:
            return others[index]
        self._classes.append(answer)
        return answer

    async def _equal(self, expected: _Expression, written: str) -> bool:
        answer = _Expression.of(written)
        if answer.normal == expected.normal or answer.is_close_to(expected):
            return True
        return answer.needs_algebra(expected) and bool(await self._try(equal, expected.normal, answer.normal))

    async def _try(self, comparison: Callable[..., T], *arguments: object) -> T | None:
        if self._failures >= _MOST_FAILURES:
            return None
        try:
            return await self._workers.run(comparison, *arguments, timeout=_SECONDS)
        except WorkerFailed:
            self._failures += 1
            if self._failures == 1:
                self._warnings.append("A comparison of mathematical answers failed: they count as different.")
            if self._failures == _MOST_FAILURES:
                self._warnings.append(
                    f"After {_MOST_FAILURES} failures no more mathematical answers were compared: those written"
                    " differently count as different."
                )
            return None


def read_math(text: str) -> str | None:
    """The expression a response ends with, as written; None for none.

    It is the one in the last box, else after `####`, else after "the answer is", else the whole text where
    it is short and an expression, else the last formula (`$…$`, `\\(…\\)`, `\\[…\\]`), else the last number.
    """
    if held := extract.boxed(text) or extract.hashed(text):
        return tidy(held)
    if said := extract.stated(text):
        return expression_in(said)
    whole = tidy(text) if len(text) <= SHORT else None
    if whole and (looks_like_math(whole) or numerals.exact(whole) is not None):
        return whole
    if formula := extract.last_formula(text):
        return tidy(formula)
    value = numerals.last(text)
    return numerals.show(value) if value is not None else None


def read_reference(reference: str) -> str:
    """The expression in a reference: boxed, after `####`, all of a short one, or the end of a solution."""
    answer = extract.bare(reference)
    whole = tidy(answer)
    return whole if whole and len(answer) <= SHORT else read_math(reference) or answer


def expression_in(said: str) -> str | None:
    """The expression in what follows "the answer is": its first formulas, itself, its first number."""
    if formulas := extract.leading_formulas(said):
        return tidy(formulas)
    said = extract.after_working(said)
    whole = tidy(said)
    if whole is None or looks_like_math(whole) or numerals.exact(whole) is not None:
        return whole
    value = numerals.first(said)
    return numerals.show(value) if value is not None else whole


def tidy(written: str) -> str | None:
    """An answer as written, without the dollar signs, asterisks and full stop around it; None if empty."""
    return encodable(written.strip(_AROUND).rstrip(_AFTER)) or None


def looks_like_math(text: str) -> bool:
    """Whether one line of text is an expression rather than prose."""
    return _SIGNS.search(text) is not None and "\n" not in text and ("\\" in text or not _PROSE.search(text))


def normal(written: str) -> str:
    """LaTeX without what does not change its meaning: sizes, spacing, dollar signs, a unit after a number."""
    for name, synonym in _SYNONYMS:
        written = written.replace(name, synonym)
    written = _LOOSE_SPACE.sub("", _SPACING.sub(" ", written).strip())
    unit = _LAST_UNIT.search(written)
    return written[: unit.start()] if unit and numerals.is_unit(unit[0]) else written
