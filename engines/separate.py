"""An engine asked for the parts of a call one by one: for servers that do not take `n`, and for seeds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from engines.base import Call, Chunk, Engine, EngineError, Generation, Message, Sample, Usage
from engines.failures import generated_nothing


@dataclass(frozen=True, slots=True)
class _Part:
    """`call` asks for the continuations of `prompt` from `choice` on."""

    call: Call
    prompt: int
    choice: int

    def placed(self, chunk: Chunk) -> Chunk:
        return replace(chunk, prompt=self.prompt, choice=self.choice + chunk.choice)


class SeparateCalls:
    """`engine`, with a call of its own for each part of a call, all at once.

    `each: sample`, for servers that do not take `n`, makes a request for every sample. `each: prompt` makes one for
    every prompt of a call that has a seed and several prompts: a server would seed all of them alike, and equal
    prompts would get equal samples. Any other call goes through whole.

    A sample that fails is missing from the result; where all fail, the first failure is raised. What a failed part
    may have generated counts as generated.
    """

    def __init__(self, engine: Engine, each: Literal["sample", "prompt"] = "sample") -> None:
        self._engine = engine
        self._each = each

    @property
    def model(self) -> str:
        return self._engine.model

    async def context_length(self) -> int:
        return await self._engine.context_length()

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        return await self._engine.tokenize(messages, tools=tools, template=template)

    async def sample(self, call: Call) -> Generation:
        parts = self._parts(call)
        if len(parts) == 1:
            return await self._engine.sample(call)
        results = await asyncio.gather(
            *(self._engine.sample(part.call) for part in parts), return_exceptions=True
        )
        samples: list[list[Sample]] = [[] for _ in call.prompts]
        usages: list[Usage] = []
        failures: list[BaseException] = []
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
                if isinstance(result, EngineError) and not generated_nothing(result):
                    usages.append(Usage(completion_tokens=part.call.n * part.call.max_tokens))
            else:
                samples[part.prompt] += result.samples[0]
                usages.append(result.usage)
        unexpected = [failure for failure in failures if not isinstance(failure, EngineError)]
        if unexpected or len(failures) == len(parts):
            raise (unexpected or failures)[0]
        return Generation(tuple(map(tuple, samples)), self._usage(call, usages))

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        parts = self._parts(call)
        if len(parts) == 1:
            async with aclosing(self._engine.stream(call)) as whole:
                async for chunk in whole:
                    yield chunk
            return
        news: asyncio.Queue[Chunk | Usage | Exception] = asyncio.Queue()
        streams = [asyncio.create_task(self._forward(part, news)) for part in parts]
        usages: list[Usage] = []
        failures: list[EngineError] = []
        try:
            while len(usages) + len(failures) < len(streams):
                new = await news.get()
                if isinstance(new, Chunk):
                    yield new
                elif isinstance(new, Usage):
                    usages.append(new)
                elif isinstance(new, EngineError):
                    failures.append(new)
                else:
                    raise new
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
        if not usages:
            raise failures[0]
        usage = self._usage(call, usages)
        yield replace(usage, completion_tokens=None) if failures else usage

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def close(self) -> None:
        await self._engine.close()

    def _parts(self, call: Call) -> list[_Part]:
        if self._each == "prompt" and (len(call.prompts) == 1 or "seed" not in call.sampling):
            return [_Part(call, 0, 0)]
        step = 1 if self._each == "sample" else call.n
        return [
            _Part(_part(call, prompt, choice, step), prompt, choice)
            for prompt in range(len(call.prompts))
            for choice in range(0, call.n, step)
        ]

    async def _forward(self, part: _Part, news: asyncio.Queue[Chunk | Usage | Exception]) -> None:
        """Put into `news` the chunks of one part's stream, and last its usage, or its failure."""
        usage, finished = Usage(), False
        try:
            async with aclosing(self._engine.stream(part.call)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Usage):
                        usage = chunk
                    else:
                        news.put_nowait(part.placed(chunk))
                        finished = finished or chunk.finish_reason is not None
        except Exception as error:
            news.put_nowait(error)
        else:
            news.put_nowait(usage if finished else EngineError("The engine returned no sample."))

    def _usage(self, call: Call, usages: Sequence[Usage]) -> Usage:
        """The parts' usage, prompts counted once where each sample is a part; None for what a part did not tell."""
        cached = [usage.cached_tokens for usage in usages if usage.cached_tokens is not None]
        generated = [usage.completion_tokens for usage in usages if usage.completion_tokens is not None]
        return Usage(
            sum(map(len, call.prompts)),
            sum(cached) if self._each == "prompt" and cached else None,
            sum(generated) if len(generated) == len(usages) else None,
        )


def _part(call: Call, prompt: int, choice: int, n: int) -> Call:
    sampling = dict(call.sampling)
    if "seed" in sampling:
        sampling["seed"] += prompt * call.n + choice
    return replace(call, prompts=(call.prompts[prompt],), n=n, sampling=sampling)
