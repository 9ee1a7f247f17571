"""The `regex` format: what a pattern of the request finds last, on an engine without backtracking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

from verifiers.formats import extract
from verifiers.formats.base import AnswerFormatError, Answers, encodable, read_each
from verifiers.workers import WorkerFailed, Workers

MOST_PATTERN_CHARACTERS = 1_000
_PATTERN_BYTES = 1 << 20
_SECONDS = 2.0
_SECONDS_PER_CHARACTER = 1e-5
_MOST_SECONDS = 10.0
_GAVE_UP = (
    "Matching the pattern took too long or too much memory: the responses it was to read have no answer."
)


@dataclass(frozen=True, slots=True)
class RegexAnswers(Answers):
    """What group `capture` holds in the last match of `pattern` (RE2 syntax); None where that is nothing.

    RE2 takes time linear in the text, but as much as a second for a large pattern and a long text: it runs
    in a worker with a time limit that grows with the texts, past which no response has an answer.
    """

    pattern: str
    capture: int | str
    workers: Workers
    warnings: list[str] = field(default_factory=list, compare=False)

    @property
    def format(self) -> str:
        return "regex"

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        texts = await read_each(encodable, contents)
        seconds = min(_MOST_SECONDS, _SECONDS + _SECONDS_PER_CHARACTER * sum(map(len, texts)))
        try:
            return await self.workers.run(last_matches, self.pattern, self.capture, texts, timeout=seconds)
        except WorkerFailed:
            if _GAVE_UP not in self.warnings:
                self.warnings.append(_GAVE_UP)
            return [None] * len(texts)

    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        expected = {extract.bare(reference), *await self.canonical([reference])}
        return [answer is not None and answer in expected for answer in answers]


def check_pattern(pattern: str, group: int | str | None) -> int | str:
    """The group to read: `group`, else the first, else (0) the whole match.

    Raises AnswerFormatError where the pattern is invalid or too large, or has no such group.
    """
    if len(pattern) > MOST_PATTERN_CHARACTERS:
        raise _unusable(f"it has {len(pattern)} characters, and {MOST_PATTERN_CHARACTERS} are allowed")
    try:
        compiled = _compile(pattern)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0]
        raise _unusable(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else "it is not Unicode"
        ) from error
    if group is None:
        return 1 if compiled.groups else 0
    if group in compiled.groupindex if isinstance(group, str) else 0 <= group <= compiled.groups:
        return group
    names = ", ".join(compiled.groupindex) or "none named"
    raise AnswerFormatError(
        "scaling.answer.group",
        f"The pattern has no group {group!r}: it has {compiled.groups} ({names}), and 0 is the whole match.",
    )


def last_matches(pattern: str, group: int | str, texts: Sequence[str]) -> list[str | None]:
    """What `group` holds in the last match in each text that leaves it non-empty. Runs in a worker."""
    compiled = _compile(pattern)
    return [_last_match(compiled, group, text) for text in texts]


def _last_match(compiled: Any, group: int | str, text: str) -> str | None:
    last = None
    for match in compiled.finditer(text):
        last = match[group] or last
    return last


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES
    return re2.compile(pattern, options)


def _unusable(reason: str) -> AnswerFormatError:
    return AnswerFormatError(
        "scaling.answer.pattern",
        f"The pattern cannot be used: {reason}. Send a simpler one in RE2's syntax, which has no look-around"
        " and no backreferences.",
    )
