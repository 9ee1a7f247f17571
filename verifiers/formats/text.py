"""The `text` format: the whole response, compared without regard to case, spacing and what surrounds it."""

from __future__ import annotations

import unicodedata

from verifiers.formats import extract
from verifiers.formats.base import encodable

_MARKS = "\"'\u201c\u201d\u2018\u2019„«»`*_~> "
_BEFORE = _MARKS + "#"
_AFTER = _MARKS + ".,;:!?…"


def read_text(text: str) -> str | None:
    """`text` in NFKC, casefolded, white space collapsed, without quotes, markup and stops around it.

    Words are kept as they are, articles too: "The Who" is not "who". None where nothing is left.
    """
    if text.isascii():
        text = text.casefold()
    else:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", encodable(text)).casefold())
    return " ".join(text.split()).lstrip(_BEFORE).rstrip(_AFTER) or None


def read_reference(reference: str) -> str | None:
    """The text of a reference: boxed, after `####`, or all of it."""
    return read_text(extract.bare(reference))
