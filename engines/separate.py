"""An engine asked for its samples one by one: for servers that do not take `n`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.base import Call, Chunk, Engine, EngineError, Generation, Message, Sample, Usage

Place = tuple[int, int]


class SeparateCalls:
    """`engine`, with a call of its own for each sample. Costs as many requests as there are samples.

    A sample that fails is missing from the result; where all fail, the first failure is raised. Prompts are counted
    once, as the server counts them in one call.
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
        failures: list[BaseException] = []
        for (prompt, _), result in zip(places, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                samples[prompt].append(result)
        unexpected = [failure for failure in failures if not isinstance(failure, EngineError)]
        if unexpected or len(failures) == len(places):
            raise (unexpected or failures)[0]
        return Generation(tuple(map(tuple, samples)), _usage(call))

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        running = {asyncio.create_task(self._one(call, place)): place for place in _places(call)}
        failure: EngineError | None = None
        finished = 0
        try:
            while running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    prompt, choice = running.pop(task)
                    try:
                        sample = task.result()
                    except EngineError as error:
                        failure = error
                        continue
                    finished += 1
                    yield Chunk(
                        prompt, choice, sample.text, sample.tokens, sample.logprob, sample.finish_reason
                    )
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if failure and not finished:
            raise failure
        yield _usage(call)

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def close(self) -> None:
        await self._engine.close()

    async def _one(self, call: Call, place: Place) -> Sample:
        prompt, choice = place
        sampling = dict(call.sampling)
        if "seed" in sampling:
            sampling["seed"] += choice
        single = replace(call, prompts=(call.prompts[prompt],), n=1, sampling=sampling)
        samples = (await self._engine.sample(single)).samples[0]
        if not samples:
            raise EngineError("The engine returned no sample.")
        return samples[0]


def _places(call: Call) -> Iterable[Place]:
    return ((prompt, choice) for prompt in range(len(call.prompts)) for choice in range(call.n))


def _usage(call: Call) -> Usage:
    return Usage(sum(map(len, call.prompts)))
