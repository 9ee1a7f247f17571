"""Scores a response with a reward or classification model on vLLM's pooling server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import msgspec

from engines.base import EngineError, EngineGarbage, Message
from engines.transport import Transport, decode
from verifiers.base import Response, Score, Verdict
from verifiers.pooling import Pooling, Usage

Route = Literal["pooling", "classify"]


class _Class(msgspec.Struct):
    probs: list[float]


class _Classification(msgspec.Struct):
    data: list[_Class]
    usage: Usage = msgspec.field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class OutcomeReward:
    """One score per response from `model` behind `http`, on the model's own scale.

    `route: pooling` takes /pooling's number for the sequence, or for its last token where the model gives one a
    token; `classify` takes the probability of class `positive_label` from /classify. The server renders conversation
    and response with the model's chat template. A response that the server does not score, or not in time, gets None.
    """

    name: str
    http: Transport
    model: str
    route: Route = "pooling"
    positive_label: int = 0

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        asked = [asyncio.create_task(self._ask(messages, response)) for response in responses]
        try:
            if asked:
                await asyncio.wait(asked, timeout=seconds)
        finally:
            for task in asked:
                task.cancel()
            results = await asyncio.gather(*asked, return_exceptions=True)
        scores: list[Score] = []
        failures: list[EngineError] = []
        read = scored = 0
        for result in results:
            if isinstance(result, (EngineError, asyncio.CancelledError)):
                scores.append(None)
                if isinstance(result, EngineError):
                    failures.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                scores.append(result[0])
                read += result[1]
                scored += result[0] is not None
        if failures and not scored:
            raise failures[0]
        in_time = "" if scored + len(failures) == len(responses) else " in time"
        warning = f"{self.name} scored {scored} of {len(responses)} responses{in_time}."
        return Verdict(tuple(scores), read, warnings=(warning,) if scored < len(responses) else ())

    async def _ask(self, messages: Sequence[Message], response: Response) -> tuple[Score, int]:
        body = {
            "model": self.model,
            "messages": [*messages, {"role": "assistant", "content": response.content}],
            "add_generation_prompt": False,
        }
        answer = await self.http.post(f"/{self.route}", body)
        try:
            if self.route == "classify":
                classes = decode(answer, _Classification)
                return classes.data[0].probs[self.positive_label], classes.usage.prompt_tokens
            pooled = decode(answer, Pooling)
            return pooled.data[0].rows()[-1][self.positive_label], pooled.usage.prompt_tokens
        except IndexError as error:
            raise EngineGarbage(f"{self.name} returned no score for label {self.positive_label}.") from error
