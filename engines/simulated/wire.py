"""What clients ask a simulated vLLM server, checked, and how it says no."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from engines.base import Call
from engines.simulated.engine import too_long
from engines.simulated.words import VOCABULARY, Tokens, encode, render

_LONGEST_WORD: Final = 16
_MOST_SEQUENCES: Final = 65_536
_MOST_N: Final = 16_384
_MOST_LOGPROBS: Final = 20

T = TypeVar("T")


class Refusal(Exception):
    """A request that cannot be done, as vLLM says it."""

    def __init__(self, message: str, param: str | None = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        kind = {404: "NotFoundError"}.get(status, "BadRequestError")
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None

    def plain(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content}


class Asked(msgspec.Struct, kw_only=True):
    """What all requests name: the model."""

    model: str


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class CompletionAsked(Asked, kw_only=True):
    """Fields that are not named here change nothing, as unknown ones do not at vLLM."""

    prompt: str | list[Any]
    n: Annotated[int, msgspec.Meta(ge=1, le=_MOST_N)] = 1
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = 16
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = False
    structured_outputs: Any = None
    response_format: Any = None

    def call(self, context: int) -> Call:
        """The engine call that this is. Raises Refusal."""
        prompts = read_prompts(self.prompt, context)
        if len(prompts) * self.n > _MOST_SEQUENCES:
            raise Refusal(f"A request may ask for {_MOST_SEQUENCES} sequences. Ask for fewer.", "n")
        if self.logprobs is not None and self.logprobs > _MOST_LOGPROBS:
            most = f"which is greater than max allowed: {_MOST_LOGPROBS}"
            raise Refusal(f"Requested sample logprobs of {self.logprobs}, {most}", "logprobs")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if "" in stop:
            raise Refusal("stop cannot contain an empty string.", "stop")
        sampling = {
            "seed": self.seed,
            "temperature": self.temperature,
            "structured_outputs": self.structured_outputs,
            "response_format": self.response_format,
        }
        return Call(prompts, self.n, self.max_tokens or context, stop, self.logprobs, sampling)


class TokenizeAsked(Asked, kw_only=True):
    prompt: str | None = None
    messages: list[Message] | None = None
    add_generation_prompt: bool = True


class DetokenizeAsked(Asked, kw_only=True):
    tokens: list[int]


class PoolingAsked(Asked, kw_only=True):
    """An `input` of texts or token ids, or a conversation in `messages`."""

    input: str | list[Any] | None = None
    messages: list[Message] | None = None
    use_activation: bool | None = None

    def texts(self, context: int) -> tuple[Tokens, ...]:
        """The token ids of each input. Raises Refusal."""
        if self.messages:
            rendered = render([message.plain() for message in self.messages], generation=False)
            return read_prompts(list(rendered), context, "messages")
        if self.input is None:
            raise Refusal("Give input or messages.", "input")
        return read_prompts(self.input, context, "input")


def read(body: bytes, shape: type[T]) -> T:
    """`body` as `shape`. Raises Refusal, with the field that is wrong where one is."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        field = re.search(r"`\$\.(\w+)|field `(\w+)`", str(error))
        raise Refusal(f"1 validation error: {error}", (field[1] or field[2]) if field else None) from error


def read_prompts(prompt: str | Sequence[Any], context: int, param: str = "prompt") -> tuple[Tokens, ...]:
    """The token ids of a text, of several, of a list of ids or of several. Raises Refusal."""
    prompts = [prompt] if isinstance(prompt, str) or all(isinstance(part, int) for part in prompt) else prompt
    return tuple(_read_prompt(one, context, param) for one in prompts)


def _read_prompt(prompt: Any, context: int, param: str) -> Tokens:
    if isinstance(prompt, str):
        if len(prompt) > context * _LONGEST_WORD:
            raise Refusal(too_long(context, len(prompt) // _LONGEST_WORD), "input_tokens")
        tokens = encode(prompt)
    elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
        tokens = tuple(prompt)
    else:
        raise Refusal(f"{param} is a text, a list of texts, a list of token ids, or a list of such.", param)
    if not tokens:
        raise Refusal(f"{param} holds nothing to read. Give it at least one token.", param)
    if min(tokens) < 0 or max(tokens) >= VOCABULARY:
        raise Refusal(f"Token id {max(tokens)} is out of vocabulary", param)
    if len(tokens) > context:
        raise Refusal(too_long(context, len(tokens)), "input_tokens")
    return tokens
