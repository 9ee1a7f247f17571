"""What an engine is: token ids in; token ids, log-probabilities, finish reason and usage out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

Message = Mapping[str, Any]
"""One chat message in OpenAI's form: a `role` and a `content`, perhaps `tool_calls`."""

FinishReason = Literal["stop", "length"]
"""`stop`: the model ended or a stop string was met; `length`: cut at `max_tokens`."""


class Sample(msgspec.Struct, frozen=True):  # one a sample: a Struct is made in a tenth of a dataclass's time
    """One generated continuation of one prompt.

    `tokens` are the generated ids, `logprob` is the sum of their log-probabilities (nats; None where not
    asked for, not reported, or nothing was generated), `top_logprobs` the most likely alternatives at each
    position (where asked for). `stopped_at` is the stop string that ended it: not in `text`, though the tokens that
    formed it are in `tokens`; None where the model ended by itself or was cut. `last_token` is the last token's text,
    where log-probabilities were asked for.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    logprob: float | None = None
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    stopped_at: str | None = None
    last_token: str = ""

    @property
    def mean_logprob(self) -> float | None:
        """Mean log-probability of a token in nats, or None without log-probabilities or tokens."""
        return None if self.logprob is None or not self.tokens else self.logprob / len(self.tokens)

    @property
    def overrun(self) -> str:
        """What the last token holds beyond the stop string that ended the sample, as far as `last_token` tells.

        A token may run past it: one of "\\n\\n" and an indentation ends a step at the blank line.
        """
        if not self.stopped_at:
            return ""
        known = self.text + self.stopped_at
        ends = (end for end in range(len(self.last_token), 0, -1) if known.endswith(self.last_token[:end]))
        return self.last_token[next(ends, len(self.last_token)) :]

    def continued(self, rest: Sample) -> Sample:
        """This sample and what was generated after it, as one."""
        logprob = self.logprob
        if rest.tokens:
            logprob = None if logprob is None or rest.logprob is None else logprob + rest.logprob
        text, tokens = self.text + rest.text, self.tokens + rest.tokens
        return Sample(text, tokens, rest.finish_reason, logprob, stopped_at=rest.stopped_at)


@dataclass(frozen=True, slots=True)
class Call:
    """One engine call: `n` continuations of each of `prompts`, at most `max_tokens` long each.

    `sampling` holds vLLM's own sampling fields (`temperature`, `top_p`, `seed`, `structured_outputs`, …).
    `logprobs` is None for none, 0 for the chosen token's only, k for the k most likely at each position.
    `affinity` names what the call shares with its siblings: calls with one affinity go to one replica.
    """

    prompts: tuple[tuple[int, ...], ...]
    n: int
    max_tokens: int
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    affinity: bytes = b""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens the engine counted in a call: prompts read, how many of them from its prefix cache, all generated.

    `completion_tokens` includes those of samples that failed. None: not reported.
    """

    prompt_tokens: int = 0
    cached_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of a call: `samples[p]` continue `prompts[p]`; fewer than `n` where some failed."""

    samples: tuple[tuple[Sample, ...], ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a stream says next of one continuation: new text, tokens, log-probability.

    Its last has a finish reason, and the stop string that ended it, if one did. `last_token` is the text of the last of
    `tokens`, where log-probabilities were asked for. `anew`: the continuation begins again, elsewhere, and what came of
    it before is void.
    """

    prompt: int
    choice: int
    text: str
    tokens: tuple[int, ...]
    logprob: float | None = None
    finish_reason: FinishReason | None = None
    stopped_at: str | None = None
    last_token: str = ""
    anew: bool = False


class EngineError(Exception):
    """A call to an engine failed. The message is fit for a client: no addresses, no tracebacks."""


class EngineUnavailable(EngineError):
    """Nothing answers: refused, reset, timed out, or 5xx. The same call may succeed elsewhere or later.

    `began` says whether the engine may have generated something before it failed: not where it was out of reach or
    turned the call away (429, 503), but where the connection broke later or it answered with another 5xx.
    """

    def __init__(self, message: str, *, began: bool = False) -> None:
        super().__init__(message)
        self.began = began


class EngineRefused(EngineError):
    """The engine read the call and will not do it (4xx): repeating it is no use."""


class EngineGarbage(EngineError):
    """The engine answered something that is not its protocol."""


class Engine(Protocol):
    """A model that continues token ids. Cancelling a call stops its generation."""

    @property
    def model(self) -> str:
        """The name clients ask for."""
        ...

    async def context_length(self) -> int:
        """Most tokens a prompt and its continuation may have together."""
        ...

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """The chat template's token ids for `messages`, ready to be answered."""
        ...

    async def sample(self, call: Call) -> Generation:
        """Run `call` to its end as one request."""
        ...

    def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        """Run `call` and yield what each continuation generates, and the `Usage` last."""
        ...

    async def ready(self) -> bool:
        """Whether a call made now would find an engine that answers."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
