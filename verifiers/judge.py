"""Asks a model whether a response is right; the score is the probability it gives to yes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.base import Call, Engine, Message, Sample
from verifiers.base import Response, Score, Verdict

QUESTION: Final = (
    "Here is a conversation and a proposed reply to its last message.\n\n{conversation}\n\n[proposed reply]\n"
    "{reply}\n\nIs the proposed reply correct? Answer with one word: yes or no."
)
TOP_LOGPROBS: Final = 20
VERDICT_TOKENS: Final = 20
"""Enough for `{"verdict": "yes"}` in any tokenizer that has words at all."""

_SCHEMA: Final = {
    "type": "object",
    "properties": {"verdict": {"enum": ["yes", "no"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Judge:
    """P(yes) / (P(yes) + P(no)) at the first token of `engine`'s verdict, in [0, 1], all responses in one call.

    Where neither word is among the 20 likeliest tokens, the verdict is asked for once more under a JSON schema and
    scores 1 or 0; how often that happened is a warning of the verdict.
    Source: generative verifiers as next-token prediction, Zhang et al. 2408.15240, equation 2.
    """

    engine: Engine
    name: str = "judge"

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 1 + VERDICT_TOKENS

    async def score(self, messages: Sequence[Message], responses: Sequence[Response]) -> Verdict:
        conversation = "\n\n".join(f"[{m['role']}]\n{_text(m)}" for m in messages)
        questions = [
            [{"role": "user", "content": QUESTION.format(conversation=conversation, reply=response.content)}]
            for response in responses
        ]
        prompts = tuple(await asyncio.gather(*map(self.engine.tokenize, questions)))
        first, read, generated = await self._ask(prompts, 1, logprobs=TOP_LOGPROBS, sampling={})
        scores = [probability_of_yes(sample) for sample in first]
        unsure = [i for i, score in enumerate(scores) if score is None]
        if not unsure:
            return Verdict(tuple(scores), read, generated)
        again, more_read, more_generated = await self._ask(
            tuple(prompts[i] for i in unsure),
            VERDICT_TOKENS,
            logprobs=None,
            sampling={"structured_outputs": {"json": _SCHEMA}},
        )
        for i, sample in zip(unsure, again, strict=True):
            scores[i] = _verdict(sample)
        share = f"{len(unsure)} of {len(responses)}"
        warning = f"The judge named neither yes nor no for {share} responses; it was asked again by schema."
        return Verdict(tuple(scores), read + more_read, generated + more_generated, (warning,))

    async def _ask(
        self,
        prompts: tuple[tuple[int, ...], ...],
        max_tokens: int,
        *,
        logprobs: int | None,
        sampling: Mapping[str, Any],
    ) -> tuple[list[Sample | None], int, int]:
        """One verdict per prompt (None where it failed), tokens read and generated."""
        call = Call(prompts, 1, max_tokens, logprobs=logprobs, sampling={"temperature": 0.0, **sampling})
        generation = await self.engine.sample(call)
        samples = [samples[0] if samples else None for samples in generation.samples]
        return samples, generation.usage.prompt_tokens, sum(len(s.tokens) for s in samples if s)


def probability_of_yes(sample: Sample | None) -> Score:
    """P(yes) / (P(yes) + P(no)) from the first token's alternatives; None where neither is among them."""
    yes = no = 0.0
    for token, logprob in sample.top_logprobs[0].items() if sample and sample.top_logprobs else ():
        word = token.strip(" \t\n\u2581\u0120*\"'.").casefold()
        if word == "yes":
            yes += math.exp(logprob)
        elif word == "no":
            no += math.exp(logprob)
    return yes / (yes + no) if yes + no > 0 else None


def _verdict(sample: Sample | None) -> Score:
    if sample is None:
        return None
    said = sample.text.rpartition(":")[2]
    return 1.0 if "yes" in said else 0.0 if "no" in said else None


def _text(message: Message) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
