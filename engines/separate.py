"""An engine asked for its samples one by one: for servers that do not take `n`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from engines.base import Call, Chunk, Engine, EngineError, Generation, Message, Sample, Usage

Place = tuple[int, int]


class SeparateCalls:
    """`engine`, with a call of its own for each sample. Costs as many requests as there are samples.

    A sample that fails is missing from the result; where all fail, the first failure is raised. Prompts are counted
    once, as the server counts them in one call; generated tokens are the calls' sum, None where one did not tell.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        places = list(_places(call))
        results = await asyncio.gather(*(self._one(call, place) for place in places), return_exceptions=True)
        samples: list[list[Sample]] = [[] for _ in call.prompts]
        usages: list[Usage] = []
        failures: list[BaseException] = []
        for (prompt, _), result in zip(places, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                samples[prompt].append(result[0])
                usages.append(result[1])
        unexpected = [failure for failure in failures if not isinstance(failure, EngineError)]
        if unexpected or len(failures) == len(places):
            raise (unexpected or failures)[0]
        return Generation(tuple(map(tuple, samples)), _usage(call, usages))

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        news: asyncio.Queue[Chunk | Usage | Exception] = asyncio.Queue()
        streams = [asyncio.create_task(self._forward(call, place, news)) for place in _places(call)]
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
        yield _usage(call, usages)

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def close(self) -> None:
        await self._engine.close()

    async def _one(self, call: Call, place: Place) -> tuple[Sample, Usage]:
        generation = await self._engine.sample(_single(call, place))
        if not generation.samples[0]:
            raise EngineError("The engine returned no sample.")
        return generation.samples[0][0], generation.usage

    async def _forward(
        self, call: Call, place: Place, news: asyncio.Queue[Chunk | Usage | Exception]
    ) -> None:
        """Put into `news` the chunks of one sample's stream, and last its usage, or its failure."""
        prompt, choice = place
        usage, finished = Usage(), False
        try:
            async with aclosing(self._engine.stream(_single(call, place))) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Usage):
                        usage = chunk
                    else:
                        news.put_nowait(replace(chunk, prompt=prompt, choice=choice))
                        finished = chunk.finish_reason is not None
        except Exception as error:
            news.put_nowait(error)
        else:
            news.put_nowait(usage if finished else EngineError("The engine returned no sample."))


def _places(call: Call) -> Iterable[Place]:
    return ((prompt, choice) for prompt in range(len(call.prompts)) for choice in range(call.n))


def _single(call: Call, place: Place) -> Call:
    prompt, choice = place
    sampling = dict(call.sampling)
    if "seed" in sampling:
        sampling["seed"] += prompt * call.n + choice
    return replace(call, prompts=(call.prompts[prompt],), n=1, sampling=sampling)


def _usage(call: Call, usages: Sequence[Usage]) -> Usage:
    """The usage of the calls that were answered: of all they generated only where every sample's call told."""
    told = [usage.completion_tokens for usage in usages if usage.completion_tokens is not None]
    whole = len(told) == len(call.prompts) * call.n
    return Usage(sum(map(len, call.prompts)), completion_tokens=sum(told) if whole else None)
