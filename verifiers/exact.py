"""Scores a response by a reference answer: for evaluation and coverage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engines.base import Message
from verifiers.answers import Answers
from verifiers.base import Response, Verdict


@dataclass(frozen=True, slots=True)
class Exact:
    """1 where a response's answer equals `reference` under the request's answer format, else 0."""

    answers: Answers
    reference: str

    name: ClassVar[str] = "exact"
    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        answers = [response.answer for response in responses]
        try:
            async with asyncio.timeout(seconds):
                right = await self.answers.matches(answers, self.reference)
        except TimeoutError:
            return Verdict((None,) * len(answers), warnings=("exact scored no response in time.",))
        return Verdict(tuple(map(float, right)))
