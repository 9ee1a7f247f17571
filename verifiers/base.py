"""What a verifier is: responses in, a score each out, and what the scoring cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from engines.base import Message, Sample

Score = float | None
"""Higher is better; None where the verifier could not tell."""


class Step(msgspec.Struct, frozen=True):
    """A step of a response: its text, separator included, its length in tokens, its score once it is known."""

    text: str
    tokens: int
    score: Score = None


class Response(msgspec.Struct, frozen=True):
    """A response, finished or so far: its sample, the text that answers (without reasoning), its canonical answer.

    `steps` are the steps it was drawn in; empty where it was drawn whole.
    """

    sample: Sample
    content: str
    answer: str | None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score for each response, in order, and what it cost.

    `read` are the tokens that a verifier's model read, `generated` those it generated; `warnings` are sentences for
    the client.
    """

    scores: tuple[Score, ...]
    read: int = 0
    generated: int = 0
    warnings: tuple[str, ...] = ()


class Verifier(Protocol):
    """Scores responses to a conversation. An instance belongs to one request.

    `max_tokens` bounds what one score may generate; `needs_logprobs` asks for samples with log-probabilities.
    `instant` verifiers answer in process without waiting on anything, so that they may score after a deadline too.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_logprobs(self) -> bool: ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def instant(self) -> bool: ...

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        """A score for each response, within `seconds` (instant verifiers pay no heed; None: without limit).

        Responses that are not scored in time, or whose scoring fails, get None, and a warning says so. Raises
        EngineError where the verifier's server failed and nothing came back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector for each text, in order, and the tokens that were read."""

    vectors: tuple[tuple[float, ...], ...]
    read: int = 0


class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how alike they are."""

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        """A vector for each text, within `seconds`. Raises EngineError where the server failed or was late."""
        ...


def sane(score: Score) -> Score:
    """`score`, or None where it is no finite number."""
    return score if score is not None and math.isfinite(score) else None
