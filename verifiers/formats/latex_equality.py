"""Whether two answers in LaTeX are equal, by math-verify. Runs in workers: it may hang or take all memory.

math-verify's own time limits rest on SIGALRM and are off. So is its treatment of units, which takes the `t`
of `4t` for one; units are removed before (`mathematics.normal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any


def first_equal(answer: str, others: Sequence[str]) -> int | None:
    """The index of the first of `others` that equals `answer`, whichever of the two is the reference."""
    for index, other in enumerate(others):
        if equal(other, answer) or equal(answer, other):
            return index
    return None


def equal(reference: str, answer: str) -> bool:
    """Whether `answer` equals `reference`. Not symmetric: an inequality equals an interval one way only."""
    from math_verify import verify

    return bool(verify(_parse(reference), _parse(answer), timeout_seconds=None))


@lru_cache(maxsize=256)
def _parse(latex: str) -> list[Any]:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    normalization = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    formulas = LatexExtractionConfig(normalization_config=normalization, boxed_match_priority=-1)
    return list(parse(f"${latex}$", extraction_config=[formulas], parsing_timeout=None))
