"""Asks a model whether a response is right; the score is the probability it gives to yes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from engines.base import Call, Engine, EngineError, Message, Sample, Usage
from engines.failures import generated_nothing
from verifiers.base import Response, Score, Verdict

QUESTION: Final = (
    "Here is a conversation and a proposed reply to its last message.\n\n{conversation}\n\n[proposed reply]\n"
    "{reply}\n\nIs the proposed reply correct? Answer with one word: yes or no."
)
TOP_LOGPROBS: Final = 20
VERDICT_TOKENS: Final = 20
"""Enough for `{"verdict": "yes"}` in any tokenizer that has words at all."""

_AFFINITY_BYTES: Final = 4096
_BY_SCHEMA: Final = {
    "json": {
        "type": "object",
        "properties": {"verdict": {"enum": ["yes", "no"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
}


@dataclass(slots=True)
class _Tally:
    """What a judging has come to so far."""

    scores: list[Score]
    read: int = 0
    generated: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judge:
    """P(yes) / (P(yes) + P(no)) at the first token of `engine`'s verdict, in [0, 1], all responses in one call.

    Where neither word is among the 20 likeliest tokens, the verdict is asked for once more under a JSON schema and
    scores 1 or 0; how often that happened is a warning of the verdict. A response too long for the model's context
    gets None. A call that time cuts short counts as having generated all that it was allowed.
    Source: generative verifiers as next-token prediction, Zhang et al. 2408.15240, equation 2.
    """

    engine: Engine
    name: str = "judge"

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 1 + VERDICT_TOKENS
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        tally = _Tally([None] * len(responses))
        try:
            async with asyncio.timeout(seconds):
                await self._judge(messages, responses, tally)
        except TimeoutError:
            missing = tally.scores.count(None)
            tally.warnings.append(f"The judge did not score {missing} of {len(responses)} responses in time.")
        return Verdict(tuple(tally.scores), tally.read, tally.generated, tuple(tally.warnings))

    async def _judge(self, messages: Sequence[Message], responses: Sequence[Response], tally: _Tally) -> None:
        conversation = "\n\n".join(f"[{m['role']}]\n{_text(m)}" for m in messages)
        questions = [
            [{"role": "user", "content": QUESTION.format(conversation=conversation, reply=response.content)}]
            for response in responses
        ]
        prompts = await asyncio.gather(*map(self.engine.tokenize, questions))
        context = await self.engine.context_length()
        # So that the judging of one conversation shares its prefix, and that of many spreads over replicas.
        affinity = conversation.encode(errors="surrogatepass")[:_AFFINITY_BYTES]
        fitting = {i: prompt for i, prompt in enumerate(prompts) if len(prompt) < context}
        if len(fitting) < len(prompts):
            share = f"{len(prompts) - len(fitting)} of {len(prompts)}"
            tally.warnings.append(
                f"{share} responses are too long for the judge's context and have no score."
            )
        await self._ask(fitting, tally, 1, probability_of_yes, affinity, logprobs=TOP_LOGPROBS)
        unsure = [i for i in fitting if tally.scores[i] is None]
        if not unsure:
            return
        share = f"{len(unsure)} of {len(responses)}"
        again = {i: fitting[i] for i in unsure if len(fitting[i]) + VERDICT_TOKENS <= context}
        try:
            await self._ask(again, tally, VERDICT_TOKENS, _verdict, affinity, structured_outputs=_BY_SCHEMA)
        except EngineError as failure:
            tally.warnings.append(f"The judge gave {share} responses no score: {failure}")
            return
        tally.warnings.append(
            f"The judge named neither yes nor no for {share} responses; it was asked again by schema."
        )

    async def _ask(
        self,
        prompts: Mapping[int, tuple[int, ...]],
        tally: _Tally,
        max_tokens: int,
        read: Callable[[Sample | None], Score],
        affinity: bytes,
        *,
        logprobs: int | None = None,
        **sampling: Any,
    ) -> None:
        """One verdict per prompt, by the number of its response, read into the tally."""
        if not prompts:
            return
        call = Call(
            tuple(prompts.values()),
            1,
            max_tokens,
            logprobs=logprobs,
            sampling={"temperature": 0.0, **sampling},
            affinity=affinity,
        )
        spent_read, spent = sum(map(len, call.prompts)), len(call.prompts) * max_tokens
        try:
            generation = await self.engine.sample(call)
            samples = [samples[0] if samples else None for samples in generation.samples]
            spent_read = generation.usage.prompt_tokens
            spent = min(spent, _generated(generation.usage, samples))
        except EngineError as failure:
            if generated_nothing(failure):
                spent_read = spent = 0
            raise
        finally:
            tally.read += spent_read
            tally.generated += spent
        for i, sample in zip(prompts, samples, strict=True):
            tally.scores[i] = read(sample)


def _generated(usage: Usage, samples: Sequence[Sample | None]) -> int:
    counted = sum(len(sample.tokens) for sample in samples if sample)
    return max(counted, usage.completion_tokens or 0)


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
