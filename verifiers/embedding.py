"""Embeds texts with a model on vLLM's embedding server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engines.base import EngineGarbage, EngineUnavailable
from engines.transport import Transport, decode
from verifiers.base import Embedded
from verifiers.pooling import Usage


class _Item(msgspec.Struct):
    embedding: msgspec.Raw


class _Embeddings(msgspec.Struct):
    data: list[_Item]
    usage: Usage = msgspec.field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Embedding:
    """Vectors from `model` behind `http`, one /v1/embeddings call for all texts; it scores nothing.

    Equal texts are sent once, and one that is longer than the model reads is cut at its end by the server.
    """

    name: str
    http: Transport
    model: str

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        """A vector for each text, in order, within `seconds` (None: without limit); all are equally long.

        Raises EngineError where the server fails, is late, or answers something else.
        """
        if not texts:
            return Embedded(())
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(texts)
        except TimeoutError as late:
            raise EngineUnavailable(f"{self.name} did not answer in time.", began=True) from late

    async def _ask(self, texts: Sequence[str]) -> Embedded:
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        body = {
            "model": self.model,
            "input": [text or " " for text in place],  # vLLM refuses a text without a token
            "encoding_format": "float",
            "truncate_prompt_tokens": -1,
        }
        answer = decode(await self.http.post("/v1/embeddings", body), _Embeddings)
        if len(answer.data) != len(place):
            raise EngineGarbage(f"{self.name} answered {len(answer.data)} of {len(place)} texts.")
        vectors = []
        for item in answer.data:
            vectors.append(decode(bytes(item.embedding), tuple[float, ...]))
            await asyncio.sleep(0)  # a thousand numbers a text: let others run between two
        if len(set(map(len, vectors))) > 1 or not vectors[0]:
            raise EngineGarbage(f"{self.name} answered vectors that are not equally long.")
        return Embedded(tuple(vectors[place[text]] for text in texts), answer.usage.prompt_tokens)
