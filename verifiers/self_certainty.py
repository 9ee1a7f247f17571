"""Scores a response by the model's own probabilities of its tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engines.base import Message
from verifiers.base import Response, Verdict


@dataclass(frozen=True, slots=True)
class SelfCertainty:
    """exp(mean token log-probability), the geometric mean of the tokens' probabilities, in (0, 1]; costs nothing.

    The length-normalised likelihood of a sample. (Kang et al. 2502.18581 compare the whole next-token distribution
    with the uniform one; servers return no whole distribution, so this takes what they do return.)
    """

    name: ClassVar[str] = "self_certainty"
    needs_logprobs: ClassVar[bool] = True
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = True

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        means = [response.sample.mean_logprob for response in responses]
        return Verdict(tuple(None if mean is None else math.exp(min(0.0, mean)) for mean in means))
