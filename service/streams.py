"""Answers as server-sent events: any OpenAI client reads the chunks, and passes over the comments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

from service.backlog import Backlog
from service.errors import ApiError
from service.planning import Plan
from service.replies import encode, messages, scaling, scaling_outcome, usage
from service.running import Run
from strategies.search import Event
from verifiers.reasoning import ReasoningSplitter

BEAT_SECONDS = 10.0
DONE = b"data: [DONE]\n\n"

Runner = Callable[[Callable[[Event], None], bool], Any]
"""Starts the run of a plan, given a listener and whether to hear single tokens."""


def data(value: Any) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def comment(value: Any) -> bytes:
    """An event that clients pass over, as the specification of server-sent events asks of lines with a colon first."""
    return b": " + encode(value) + b"\n\n"


async def events(start: Runner, live: bool) -> AsyncGenerator[Event | Run | ApiError | None]:
    """What happens in a run as it happens, None now and then while nothing does, and the `Run` or ApiError last.

    Where what is yielded is taken too slowly, not every event is told: see `Backlog`.
    """
    backlog = Backlog()
    task = asyncio.ensure_future(start(backlog.add, live))
    task.add_done_callback(lambda _: backlog.some.set())
    try:
        while backlog or not task.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await backlog.some.wait()
            if backlog or not task.done():
                yield backlog.take()
        try:
            yield task.result()
        except ApiError as error:
            yield error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def chat_chunks(plan: Plan, start: Runner, id: str, include_usage: bool) -> AsyncGenerator[bytes]:
    """OpenAI's chunks of the answer; progress in comments. A single sample's text comes as it is generated."""
    live = plan.ledger.budget.samples == 1 and not plan.tools
    chunks = _Chunks(plan, id)
    splitter = ReasoningSplitter()
    yield chunks.chunk(0, {"role": "assistant", "content": ""})
    async with aclosing(events(start, live)) as told:
        async for event in told:
            if isinstance(event, ApiError):
                yield data(event.body())
            elif isinstance(event, Run):
                for kind, text in splitter.finish() if live else ():
                    yield chunks.text(kind, text)
                for part in chunks.end(event, spoken=live):
                    yield part
                if include_usage:
                    yield chunks.usage(event)
            elif event and event["event"] == "delta":
                for kind, text in splitter.feed(event["text"]):
                    yield chunks.text(kind, text)
            else:
                yield comment(event or {"event": "running"})
    yield DONE


async def outcome_events(start: Runner, id: str) -> AsyncGenerator[bytes]:
    """One JSON event for each step of the run, the whole outcome last."""
    async with aclosing(events(start, False)) as told:
        async for event in told:
            if isinstance(event, ApiError):
                yield data(event.body())
            elif isinstance(event, Run):
                yield data(scaling_outcome(event, id))
            else:
                yield data({"object": "scaling.event", **event}) if event else comment({"event": "running"})
    yield DONE


class _Chunks:
    def __init__(self, plan: Plan, id: str) -> None:
        self._head = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": plan.created,
            "model": plan.model,
        }

    def chunk(self, index: int, delta: Any, finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return data({**self._head, "choices": [choice], **more})

    def text(self, kind: str, text: str) -> bytes:
        return self.chunk(0, {"reasoning_content" if kind == "reasoning" else "content": text})

    def end(self, run: Run, spoken: bool) -> Iterator[bytes]:
        """Each answer, unless it was spoken already, and its finish reason; `scaling` rides on the last."""
        replies = messages(run)
        for i, (message, reason) in enumerate(replies):
            if not spoken:
                for n, call in enumerate(message.get("tool_calls", ())):
                    call["index"] = n
                if i == 0:  # the opening chunk has said it
                    del message["role"]
                yield self.chunk(i, message)
            last = i == len(replies) - 1
            yield self.chunk(i, {}, reason, **({"scaling": scaling(run)} if last else {}))

    def usage(self, run: Run) -> bytes:
        return data({**self._head, "choices": [], "usage": usage(run)})
