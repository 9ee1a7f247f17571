"""The client of vLLM's OpenAI server: prompts as token ids, one HTTP call per `Call`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from engines.base import Call, Chunk, EngineGarbage, FinishReason, Generation, Message, Sample, Usage
from engines.transport import Transport, decode

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float | None] | None] | None = None


class _Choice(msgspec.Struct):
    index: int
    text: str = ""
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens: _Count | None = None

    def of(self, call: Call) -> Usage:
        """The usage of `call`; of several prompts vLLM tells the last one's cached tokens alone, which says nothing."""
        details = self.prompt_tokens_details if len(call.prompts) == 1 else None
        return Usage(self.prompt_tokens, details.cached_tokens if details else None, self.completion_tokens)


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _Tokenized(msgspec.Struct):
    tokens: tuple[int, ...]


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class VllmEngine:
    """One vLLM server at `url`, serving `served_name` (default: `model`, the name clients ask for)."""

    def __init__(
        self, model: str, url: str, *, served_name: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self._model = model
        self._served_name = served_name or model
        self._http = Transport(url, headers)
        self._context_length: int | None = None

    @property
    def model(self) -> str:
        return self._model

    async def context_length(self) -> int:
        if self._context_length is None:
            models = decode(await self._http.get("/v1/models"), _Models).data
            lengths = {model.id: model.max_model_len for model in models}
            length = lengths.get(self._served_name)
            if length is None:
                served = ", ".join(lengths) or "no model"
                raise EngineGarbage(f"The engine of {self._model} serves {served}, not {self._served_name}.")
            self._context_length = length
        return self._context_length

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        body: dict[str, Any] = {
            "model": self._served_name,
            "messages": messages,
            "add_generation_prompt": True,
            "add_special_tokens": False,
        }
        if tools:
            body["tools"] = tools
        if template:
            body["chat_template_kwargs"] = template
        return decode(await self._http.post("/tokenize", body), _Tokenized).tokens

    async def sample(self, call: Call) -> Generation:
        answer = decode(await self._http.post("/v1/completions", self._body(call)), _Completion)
        by_prompt: list[list[Sample]] = [[] for _ in call.prompts]
        for choice in sorted(answer.choices, key=lambda c: c.index):
            prompt, _ = _place(choice, call)
            finish = _finish(choice.finish_reason)
            if finish is not None:
                by_prompt[prompt].append(_sample(choice, finish, call))
        usage = answer.usage.of(call) if answer.usage else Usage(sum(map(len, call.prompts)))
        return Generation(tuple(map(tuple, by_prompt)), usage)

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        body = self._body(call) | {"stream": True, "stream_options": {"include_usage": True}}
        async with aclosing(self._http.events("/v1/completions", body)) as events:
            async for event in events:
                part = decode(event, _Completion)
                for choice in part.choices:
                    prompt, index = _place(choice, call)
                    tokens = choice.token_ids or ()
                    finish = _finish(choice.finish_reason)
                    logprob = _logprob(choice, call)
                    stop, last = _stop_string(choice), _last_token(choice, call)
                    yield Chunk(prompt, index, choice.text, tokens, logprob, finish, stop, last)
                if part.usage is not None:
                    yield part.usage.of(call)

    async def ready(self) -> bool:
        return await self._http.alive()

    async def close(self) -> None:
        await self._http.close()

    def _body(self, call: Call) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._served_name,
            "prompt": call.prompts[0] if len(call.prompts) == 1 else call.prompts,
            "n": call.n,
            "max_tokens": call.max_tokens,
            "return_token_ids": True,
            **call.sampling,
        }
        if call.stop:
            body["stop"] = call.stop
        if call.logprobs is not None:
            body["logprobs"] = call.logprobs
        return body


def _place(choice: _Choice, call: Call) -> tuple[int, int]:
    if not 0 <= choice.index < len(call.prompts) * call.n:
        raise EngineGarbage(f"The engine answered a choice {choice.index} that nobody asked for.")
    return divmod(choice.index, call.n)


def _finish(reason: str | None) -> FinishReason | None:
    """The reason in our words; None for one that means the sample failed."""
    if reason == "stop":
        return "stop"
    return "length" if reason == "length" else None


def _stop_string(choice: _Choice) -> str | None:
    """The stop string that ended a choice; None where a token did, whose id vLLM gives instead."""
    return choice.stop_reason if isinstance(choice.stop_reason, str) else None


def _last_token(choice: _Choice, call: Call) -> str:
    return (
        choice.logprobs.tokens[-1]
        if call.logprobs is not None and choice.logprobs and choice.logprobs.tokens
        else ""
    )


def _logprob(choice: _Choice, call: Call) -> float | None:
    """The sum over the choice's tokens; None where there are none, or the engine left one out."""
    if call.logprobs is None or choice.logprobs is None or not choice.token_ids:
        return None
    given = [p for p in choice.logprobs.token_logprobs if p is not None]
    return sum(given) if len(given) == len(choice.token_ids) else None


def _sample(choice: _Choice, finish: FinishReason, call: Call) -> Sample:
    if choice.token_ids is None:
        raise EngineGarbage("The engine returned no token ids: it needs vLLM 0.10 or newer.")
    if len(choice.token_ids) > call.max_tokens:
        raise EngineGarbage(
            f"The engine generated more than the {call.max_tokens} tokens that it was allowed."
        )
    top = choice.logprobs.top_logprobs if choice.logprobs and call.logprobs else None
    return Sample(
        text=choice.text,
        tokens=choice.token_ids,
        finish_reason=finish,
        logprob=_logprob(choice, call),
        top_logprobs=tuple({t: p for t, p in (at or {}).items() if p is not None} for at in top or ()),
        stopped_at=_stop_string(choice),
        last_token=_last_token(choice, call),
    )
