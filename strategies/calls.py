"""One engine call of a run, plain or streamed: what it brought is put into its `Draw`, its failure too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from budgets.budget import BudgetExhausted
from engines.assembly import Assembly
from engines.base import (
    Call,
    Chunk,
    Engine,
    EngineError,
    EngineGarbage,
    EngineUnavailable,
    Usage,
)
from engines.failures import generated_nothing
from strategies.journal import Draw, Drawn

Finished = Callable[[Drawn, int], Awaitable[bool]]
"""Told of a finished sample and of the length it was granted; True cancels the rest of its call."""


async def plain(engine: Engine, call: Call, draw: Draw, seconds: float | None) -> None:
    """Make `call` as one request. Until it is answered it is charged in full, since it may have generated that."""
    draw.tokens = draw.most
    try:
        async with asyncio.timeout(seconds):
            generation = await engine.sample(call)
    except TimeoutError:
        draw.failure = BudgetExhausted("seconds")
    except EngineError as failure:
        draw.failure = failure
        if generated_nothing(failure):
            draw.tokens = 0
    else:
        draw.drawn = [
            Drawn(prompt, choice, sample)
            for prompt, samples in enumerate(generation.samples)
            for choice, sample in enumerate(samples)
        ]
        draw.usage = generation.usage
        _charge(draw, sum(len(drawn.sample.tokens) for drawn in draw.drawn))
        if not draw.drawn:
            draw.failure = EngineGarbage("The engine returned no sample.")


async def stream(
    engine: Engine,
    call: Call,
    draw: Draw,
    seconds: float | None,
    finished: Finished | None,
    heard: Callable[[Chunk], None] | None,
) -> None:
    """Make `call` as a stream, charged by what has arrived, to its end or until `finished` says it is enough."""
    draw.usage = Usage(sum(map(len, call.prompts)))
    assembly = Assembly(call)
    try:
        async with asyncio.timeout(seconds), aclosing(engine.stream(call)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Usage):
                    draw.usage = chunk
                    _charge(draw, assembly.tokens)
                    continue
                if heard and chunk.anew:  # what was said cannot be taken back
                    raise EngineUnavailable("The engine failed in the middle of its answer.", began=True)
                sample = assembly.add(chunk)
                _charge(draw, assembly.tokens)
                if heard:
                    heard(chunk)
                if sample:
                    draw.drawn.append(Drawn(chunk.prompt, chunk.choice, sample))
                    if finished and await finished(draw.drawn[-1], draw.max_tokens):
                        draw.cut_short = True
                        return
    except TimeoutError:
        draw.failure = BudgetExhausted("seconds")
    except EngineError as failure:
        draw.failure = failure
    else:
        if not draw.drawn:
            draw.failure = EngineGarbage("The engine returned no sample.")


async def replay(draw: Draw, finished: Finished | None) -> None:
    """Tell `finished` of the samples of a recorded call, as when they came."""
    for drawn in draw.drawn:
        if finished and await finished(drawn, draw.max_tokens):
            return


def _charge(draw: Draw, arrived: int) -> None:
    """Charge what arrived, or what the engine counted where that is more: samples that failed cost as well."""
    draw.tokens = min(draw.most, max(arrived, draw.usage.completion_tokens or 0))
