"""An engine that answers from given texts: for tests of anything that runs on Aliquot, without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

from engines.base import Call, Chunk, EngineError, FinishReason, Generation, Message, Sample, Usage

Reply = str | Sample | EngineError
"""A text, a whole sample, or a failure: of that sample where others of the call succeed, else of the call."""

Script = Iterable[Reply] | Callable[[str], Iterable[Reply]]
"""Replies in the order in which samples are drawn, or a function from the prompt's text to such."""


class ScriptedEngine:
    """Draws samples from `script` in order; a token is one character (its code point).

    `stream` deals one token to each running sample in turn, as vLLM's decode steps do, waiting `step_seconds`
    between steps. `calls` keeps every call made; `generated` counts the tokens handed out, of cancelled samples too.
    A script that runs out raises EngineError, so that a test asks for no more than it wrote.
    """

    def __init__(
        self, script: Script, *, model: str = "scripted", context: int = 32_768, step_seconds: float = 0.0
    ):
        self._script = script
        self._drawn: dict[str, Iterable[Reply]] = {}
        self._model = model
        self._context = context
        self._step_seconds = step_seconds
        self.calls: list[Call] = []
        self.generated = 0

    @property
    def model(self) -> str:
        return self._model

    async def context_length(self) -> int:
        return self._context

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        return tuple(ord(c) for c in "\n".join(str(message["content"]) for message in messages))

    async def sample(self, call: Call) -> Generation:
        drawn = self._draw(call)
        kept = tuple(tuple(s for s in samples if isinstance(s, Sample)) for samples in drawn)
        failures = [s for samples in drawn for s in samples if isinstance(s, EngineError)]
        if failures and not any(kept):
            raise failures[0]
        lengths = [len(s.tokens) for samples in kept for s in samples]
        await asyncio.sleep(self._step_seconds * max(lengths, default=0))
        self.generated += sum(lengths)
        return Generation(kept, self._usage(call, sum(lengths)))

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        drawn = [(p, i, s) for p, samples in enumerate(self._draw(call)) for i, s in enumerate(samples)]
        running = [(p, i, s) for p, i, s in drawn if isinstance(s, Sample)]
        if not running:
            raise next(s for _, _, s in drawn if isinstance(s, EngineError))
        step = generated = 0
        while running:
            await asyncio.sleep(self._step_seconds)
            for prompt, choice, sample in running:
                tokens = sample.tokens[step : step + 1]
                self.generated += len(tokens)
                generated += len(tokens)
                ends = step + 1 >= len(sample.tokens)
                mean = None if sample.logprob is None else sample.logprob / max(1, len(sample.tokens))
                finish = sample.finish_reason if ends else None
                stopped_at = sample.stopped_at if ends else None
                yield Chunk(prompt, choice, sample.text[step : step + 1], tokens, mean, finish, stopped_at)
            step += 1
            running = [(p, i, s) for p, i, s in running if step < len(s.tokens)]
        yield self._usage(call, generated)

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        return None

    def _usage(self, call: Call, generated: int) -> Usage:
        return Usage(sum(map(len, call.prompts)), cached_tokens=0, completion_tokens=generated)

    def _draw(self, call: Call) -> list[list[Sample | EngineError]]:
        self.calls.append(call)
        return [[self._cut(self._next(prompt), call) for _ in range(call.n)] for prompt in call.prompts]

    def _next(self, prompt: tuple[int, ...]) -> Reply:
        key = "".join(map(chr, prompt)) if callable(self._script) else ""
        if key not in self._drawn:
            self._drawn[key] = iter(self._script(key) if callable(self._script) else self._script)
        for reply in self._drawn[key]:
            return reply
        raise EngineError("The script has no more replies.")

    @staticmethod
    def _cut(reply: Reply, call: Call) -> Sample | EngineError:
        if isinstance(reply, EngineError):
            return reply
        given = reply if isinstance(reply, Sample) else Sample(reply, tuple(map(ord, reply)), "stop", 0.0)
        text, tokens = given.text, given.tokens
        cut, stop = min(((text.find(s), s) for s in call.stop if s in text), default=(len(text), None))
        text, tokens = text[:cut], tokens[: cut + len(stop)] if stop else tokens
        finish: FinishReason = given.finish_reason
        if len(tokens) > call.max_tokens:
            text, tokens, finish = text[: call.max_tokens], tokens[: call.max_tokens], "length"
            stop = None
        logprob = None if call.logprobs is None else given.logprob
        return Sample(text, tokens, finish, logprob, given.top_logprobs, stop)
