"""An engine whose model is simulated: it solves the problems of a `SimulatedWorld`. Never a default.

Each response begins with "[simulated]", and the model's name is `simulated`.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import accumulate, count
from typing import Any, Final
from zlib import crc32

import msgspec

from engines.base import Call, Chunk, EngineRefused, FinishReason, Generation, Message, Sample, Usage
from engines.simulated.cache import PrefixCache
from engines.simulated.problems import Draws, SimulatedProblem
from engines.simulated.words import EOS, SEP, SEPARATOR, Tokens, decode, render
from engines.simulated.world import SimulatedWorld
from engines.simulated.writing import Path

MODEL: Final = "simulated"

_CONSTRAINTS = ("structured_outputs", "response_format", "guided_json", "guided_regex", "guided_choice")
_AT_ONCE = 256
"""Samples drawn before other work gets its turn: a few milliseconds' worth."""
_INTERVAL = 16
"""Tokens in a chunk of a stream, where a decode step takes no time."""

_UNSEEDED, _SEEDED, _GREEDY = range(3)


class SimulatedEngine:
    """Answers with the solutions of `world`, each decode step taking `seconds_per_step`.

    With a `seed` in its `sampling` a call is a pure function of its prompts and limits: sample i of prompt p is the
    same whatever the others. At temperature 0 a prompt's sample is always the same, and n is 1. Otherwise the
    same calls in the same order give the same samples. Other sampling fields change nothing; constrained outputs are
    refused.
    """

    def __init__(self, world: SimulatedWorld, *, seconds_per_step: float = 0.0) -> None:
        self.world = world
        self.cache = PrefixCache()
        self._seconds_per_step = seconds_per_step
        self._calls = count()

    @property
    def model(self) -> str:
        return MODEL

    async def context_length(self) -> int:
        return self.world.settings.context

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        return render(messages)

    async def sample(self, call: Call) -> Generation:
        samples, usage = await self.draw(call)
        await self.decode(samples)
        if call.logprobs == 0:  # the chosen tokens' alone, as a sum: so does VllmEngine
            samples = tuple(
                tuple(msgspec.structs.replace(s, top_logprobs=()) for s in drawn) for drawn in samples
            )
        return Generation(samples, usage)

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        samples, usage = await self.draw(call)
        async with aclosing(self.deal(samples)) as chunks:
            async for chunk in chunks:
                yield chunk
        yield usage

    async def decode(self, samples: Sequence[Sequence[Sample]]) -> None:
        """Take the time that the samples take when they are drawn side by side."""
        longest = max(len(sample.tokens) for drawn in samples for sample in drawn)
        await asyncio.sleep(self._seconds_per_step * longest)

    async def deal(self, samples: Sequence[Sequence[Sample]]) -> AsyncGenerator[Chunk]:
        """The samples as a stream brings them: some tokens of each in turn."""
        interval = 1 if self._seconds_per_step else _INTERVAL
        running = [
            _chunks(p, i, sample, interval)
            for p, drawn in enumerate(samples)
            for i, sample in enumerate(drawn)
        ]
        while running:
            await asyncio.sleep(self._seconds_per_step)
            still = []
            for chunks in running:
                chunk = next(chunks)
                yield chunk
                if chunk.finish_reason is None:
                    still.append(chunks)
            running = still

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        return None

    async def draw(self, call: Call) -> tuple[tuple[tuple[Sample, ...], ...], Usage]:
        """Every sample of the call, by prompt, without the time they take. Raises EngineRefused.

        Where log-probabilities are asked for, `top_logprobs` holds each chosen token's.
        """
        self._check(call)
        order = next(self._calls)
        drawn: list[tuple[Sample, ...]] = []
        cached = generated = since = 0
        for p, prompt in enumerate(call.prompts):
            held, block = self.cache.read(prompt, call.n)
            cached += held
            problem, solution = self.world.split(prompt)
            path = self.world.writer.path(problem, solution)
            most = min(call.max_tokens, self.world.settings.context - len(prompt))
            samples = []
            for i in range(call.n):
                sample = self._one(call, problem, path, most, self._draws(call, order, p, i))
                self.cache.write(prompt, block, sample.tokens)
                generated += len(sample.tokens)
                samples.append(sample)
                since += 1
                if since % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            drawn.append(tuple(samples))
        return tuple(drawn), Usage(sum(map(len, call.prompts)), cached, generated)

    def _check(self, call: Call) -> None:
        for constraint in _CONSTRAINTS:
            if call.sampling.get(constraint) is not None:
                raise EngineRefused(f"The simulated model cannot keep to {constraint}. Leave it out.")
        if call.sampling.get("temperature") == 0 and call.n > 1:
            raise EngineRefused(f"n must be 1 when using greedy sampling, got {call.n}.")
        longest = max(map(len, call.prompts))
        if longest >= self.world.settings.context:
            raise EngineRefused(too_long(self.world.settings.context, longest))

    def _draws(self, call: Call, order: int, p: int, i: int) -> Draws:
        seed, sampling = self.world.seed, call.sampling
        if sampling.get("temperature") == 0:
            return Draws(seed, _GREEDY, crc32(array("Q", call.prompts[p]).tobytes()))
        if sampling.get("seed") is not None:
            return Draws(seed, _SEEDED, sampling["seed"], p, i)
        return Draws(seed, _UNSEEDED, order, p, i)

    def _one(self, call: Call, problem: SimulatedProblem, path: Path, most: int, draws: Draws) -> Sample:
        writer = self.world.writer
        steps = call.stop == (SEPARATOR,)
        tokens = writer.write(problem, path, draws, most, one_step=steps)
        text = decode(tokens)
        stopped_at: str | None = None
        if steps and tokens[-1] == SEP:
            text, stopped_at = text[: -len(SEPARATOR)], SEPARATOR
        elif call.stop and not steps:
            text, tokens, stopped_at = _stopped(text, tokens, call.stop)
        ended = stopped_at is not None or tokens[-1] == EOS
        finish: FinishReason = "stop" if ended else "length"
        if call.logprobs is None:
            return Sample(text, tokens, finish, stopped_at=stopped_at)
        logprobs = writer.logprobs(problem, path, tokens)
        top = tuple({decode((token,)): logprob} for token, logprob in zip(tokens, logprobs, strict=True))
        return Sample(text, tokens, finish, sum(logprobs), top, stopped_at)


def too_long(context: int, tokens: int) -> str:
    """vLLM's sentence for a prompt that leaves no room."""
    return (
        f"This model's maximum context length is {context} tokens. However, your prompt contains {tokens} input "
        "tokens. Please reduce the length of the input prompt."
    )


def _stopped(text: str, tokens: Tokens, stops: tuple[str, ...]) -> tuple[str, Tokens, str | None]:
    """Text, tokens and stop string, cut where the first of `stops` is whole: its tokens stay, its text does not."""
    lengths = list(accumulate(len(decode((token,))) for token in tokens))
    found = []
    for order, stop in enumerate(stops):
        at = text.find(stop)
        if at >= 0:
            whole = next(i for i, length in enumerate(lengths) if length >= at + len(stop))
            found.append((whole, order, at))
    if not found:
        return text, tokens, None
    whole, order, at = min(found)
    return text[:at], tokens[: whole + 1], stops[order]


def _chunks(prompt: int, choice: int, sample: Sample, interval: int) -> Iterator[Chunk]:
    """The sample in chunks of `interval` tokens."""
    at = 0
    for start in range(0, len(sample.tokens), interval):
        tokens = sample.tokens[start : start + interval]
        last = start + interval >= len(sample.tokens)
        to = len(sample.text) if last else at + len(decode(tokens))
        text, at = sample.text[at:to], to
        logprob = None
        if sample.logprob is not None:
            logprob = sum(sum(top.values()) for top in sample.top_logprobs[start : start + interval])
        finish = sample.finish_reason if last else None
        yield Chunk(prompt, choice, text, tokens, logprob, finish, sample.stopped_at if last else None)
