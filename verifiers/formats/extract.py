"""Where a response says its answer: in a box, after `####`, after "the answer is", in its last formula.

Every search takes time linear in the response and looks at a bounded part of it.
"""

from __future__ import annotations

import re
from collections import deque

LONGEST = 1_000
"""Characters an answer may have; what is longer is not taken for one."""

_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_STATES = re.compile(
    r"s?[*_]*(?:\s+(?:to|for|of|choice|option)\b[^.:=\n]{0,80}?)?"
    r"(?:\s+(?:is|are|equals|must be|should be|would be)\b|[*_\s]*[:=])"
    r"[:*_\s]*(?:(?:therefore|thus|then|simply|just|indeed|option|choice)\b[:,*_\s]*)?"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z]|\s*$)|\n")
_SPAN = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_JOINED = re.compile(r"\s*(?:,\s*)?(?:and|or|,)\s*(?=\$|\\\(|\\\[)")
_WORKING = re.compile(r"(?:[-+\d\s*/\u00d7\u00f7.,()$\\^{}]*=)+\s*")
_TRIES = 8


def boxed(text: str) -> str | None:
    r"""What the last closed, non-empty `\boxed{}` (or `\fbox{}`) holds."""
    before = len(text)
    for _ in range(_TRIES):
        before = max(text.rfind("\\boxed", 0, before), text.rfind("\\fbox", 0, before))
        if before < 0:
            return None
        opened = _BOX.match(text, before)
        held = _until_closed(text, opened.end()) if opened else None
        if held:
            return held
    return None


def _until_closed(text: str, start: int) -> str | None:
    end = text.find("}", start, start + LONGEST)
    if end < 0:
        return None
    if text.find("{", start, end) < 0 and text.find("\\", start, end) < 0:
        return text[start:end].strip()
    open_braces = 1
    for brace in _BRACE.finditer(text, start, start + LONGEST):
        open_braces += {"{": 1, "}": -1}.get(brace[0], 0)
        if open_braces == 0:
            return text[start : brace.start()].strip()
    return None


def hashed(text: str) -> str | None:
    """What follows `####` on the last line, GSM8K's mark of the answer; a heading elsewhere is none."""
    start = text.rfind("####")
    if start < 0 or len(text) - start > LONGEST:
        return None
    line = text[start + 4 :].strip()
    return line if line and "\n" not in line else None


def stated(text: str) -> str | None:
    """What the last "answer is …" or "Answer: …" says, to the end of the sentence or line."""
    before = len(text)
    for _ in range(_TRIES):
        before = max(text.rfind("nswer", 0, before), text.rfind("NSWER", 0, before))
        if before < 0:
            return None
        said = text[before + 5 : before + 5 + LONGEST]
        if states := _STATES.match(said):
            end = _SENTENCE_END.search(said, states.end())
            sentence = said[states.end() : end.start() if end else None].strip()
            if sentence:
                return sentence
    return None


def marked(text: str) -> str | None:
    """The answer a response marks as such: in a box, else after `####`, else as stated."""
    return boxed(text) or hashed(text) or stated(text)


def bare(reference: str) -> str:
    """The answer in a reference: boxed, after `####`, or all of it."""
    return boxed(reference) or hashed(reference) or reference.strip()


def after_working(said: str) -> str:
    """`said` without sums that lead up to the answer: the 8 of `5 + 3 = 8`."""
    working = _WORKING.match(said)
    return said[working.end() :] if working else said


def last_formula(text: str) -> str | None:
    """What the last `$…$`, `$$…$$`, `\\(…\\)` or `\\[…\\]` holds."""
    found = deque(_SPAN.finditer(text[-LONGEST:]), maxlen=1)
    return _held(found[0]) if found else None


def leading_formulas(text: str) -> str | None:
    """What the formulas at the start of `text` hold, joined by commas where "and", "or" or "," joins them."""
    held = []
    span = _SPAN.match(text)
    while span:
        held.append(_held(span))
        joined = _JOINED.match(text, span.end())
        span = _SPAN.match(text, joined.end()) if joined else None
    return ", ".join(held) or None


def _held(span: re.Match[str]) -> str:
    return next(group for group in span.groups() if group is not None).strip()
