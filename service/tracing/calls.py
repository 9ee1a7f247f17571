"""Engines, verifiers and embedders with a span for each of their calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from engines.base import Call, Chunk, Engine, Generation, Message, Usage
from service.tracing.spans import Attributes, Spans
from verifiers.base import Embedded, Embedder, Response, Verdict, Verifier


class TracedEngine:
    """`engine`, named `replica` in its spans: an address."""

    def __init__(self, engine: Engine, replica: str, spans: Spans) -> None:
        self._engine = engine
        self._spans = spans
        address = urlsplit(replica)
        self._known: dict[str, str | int] = {
            "gen_ai.request.model": engine.model,
            "aliquot.replica": replica,
            "server.address": address.hostname or replica,
        }
        if address.port:
            self._known["server.port"] = address.port

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
        with self._spans.span(f"tokenize {self.model}", self._known, SpanKind.CLIENT) as span:
            tokens = await self._engine.tokenize(messages, tools=tools, template=template)
            span.set_attribute("gen_ai.usage.input_tokens", len(tokens))
            return tokens

    async def sample(self, call: Call) -> Generation:
        with self._spans.span(self._name, self._asked(call), SpanKind.CLIENT) as span:
            generation = await self._engine.sample(call)
            samples = [sample for samples in generation.samples for sample in samples]
            generated = sum(len(sample.tokens) for sample in samples)
            _used(span, generation.usage, generated, len(samples))
            return generation

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        usage, generated, finished = Usage(sum(map(len, call.prompts))), 0, 0
        with self._spans.open(self._name, self._asked(call), SpanKind.CLIENT) as span:
            try:
                async with aclosing(self._engine.stream(call)) as chunks:
                    with self._spans.within(span):  # the call goes out when the first is asked for
                        news = await anext(chunks, None)
                    while news is not None:
                        if isinstance(news, Usage):
                            usage = news
                        else:
                            generated += len(news.tokens)
                            finished += news.finish_reason is not None
                        yield news
                        news = await anext(chunks, None)
            finally:
                _used(span, usage, generated, finished)

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def close(self) -> None:
        await self._engine.close()

    @property
    def _name(self) -> str:
        return f"text_completion {self.model}"

    def _asked(self, call: Call) -> Attributes:
        return {
            **self._known,
            "gen_ai.operation.name": "text_completion",
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.max_tokens": call.max_tokens,
            "gen_ai.request.choice.count": call.n,
            "aliquot.prompts": len(call.prompts),
        }


def _used(span: Span, usage: Usage, generated: int, finished: int) -> None:
    span.set_attributes(
        {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": max(generated, usage.completion_tokens or 0),
            "aliquot.samples": finished,
        }
    )
    if usage.cached_tokens is not None:
        span.set_attribute("aliquot.cached_tokens", usage.cached_tokens)


@dataclass(frozen=True, slots=True)
class TracedVerifier:
    """`verifier`, with a span for each scoring."""

    verifier: Verifier
    spans: Spans

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def needs_logprobs(self) -> bool:
        return self.verifier.needs_logprobs

    @property
    def max_tokens(self) -> int:
        return self.verifier.max_tokens

    @property
    def instant(self) -> bool:
        return self.verifier.instant

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        known: Attributes = {"aliquot.verifier": self.name, "aliquot.responses": len(responses)}
        with self.spans.span(f"verify {self.name}", known) as span:
            verdict = await self.verifier.score(messages, responses, seconds=seconds)
            span.set_attributes(
                {
                    "aliquot.scored": sum(score is not None for score in verdict.scores),
                    "gen_ai.usage.input_tokens": verdict.read,
                    "gen_ai.usage.output_tokens": verdict.generated,
                }
            )
            return verdict


@dataclass(frozen=True, slots=True)
class TracedEmbedder:
    """`embedder`, with a span for each call."""

    embedder: Embedder
    spans: Spans

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        with self.spans.span("embed", {"aliquot.texts": len(texts)}) as span:
            embedded = await self.embedder.embed(texts, seconds=seconds)
            span.set_attribute("gen_ai.usage.input_tokens", embedded.read)
            return embedded
