"""The `choice` format: one option letter, A to J."""

from __future__ import annotations

import re
from collections import deque

from verifiers.formats import extract

_TAIL = 1_000
_WRAPPED = (
    r"[\W_]*(?:(?:text|textbf|textrm|mathrm|mathbf|boldsymbol)\s?\{\W*)?(?:(?:[Oo]ption|[Cc]hoice)\W+)?"
)
_SAID = re.compile(
    rf"{_WRAPPED}(?:([B-HJ])(?![\w'\u2019])|([AI])(?=[^\w\s'\u2019]|\s*$|\s+(?:because|since|as)\b)"
    r"|(?<=\()([a-j])(?=\))|([a-j])(?=\W*$))"
)
_BARE = re.compile(r"[\W_]*(?:([A-J])(?=[)\]]|\W*$|\.\s)|([B-J])(?=:)|(?<=\()([a-j])(?=\))|([a-j])(?=\W*$))")
_MENTIONED = re.compile(r"\(([A-J])\)|(?<![\w'\u2019])(?:([B-HJ])|(A)(?!\s+[a-z]))(?![\w'\u2019])")


def read_choice(text: str) -> str | None:
    """The option a response chooses, as a capital letter; None for none.

    It is the one in the last box, else after "the answer is" or "Answer:", else the one the response
    begins with ("B", "(B) Paris", "B. Paris"), else the last option named in its last 1,000 characters, where
    the article "A" and the pronoun "I" are none.
    """
    for said in (extract.boxed(text), extract.hashed(text), extract.stated(text)):
        if said and (chosen := _SAID.match(said)):
            return _letter(chosen)
    chosen = _BARE.match(text[:_TAIL])
    if chosen is None:
        mentioned = deque(_MENTIONED.finditer(text[-_TAIL:]), maxlen=1)
        chosen = mentioned[0] if mentioned else None
    return _letter(chosen) if chosen else None


def _letter(chosen: re.Match[str]) -> str:
    return next(group for group in chosen.groups() if group).upper()
