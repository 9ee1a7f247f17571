"""The token ids of a conversation and of the steps that answer it, as the model that judges them reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import msgspec

from engines.base import EngineError, EngineGarbage, Message
from engines.transport import Transport, decode


class _Tokenized(msgspec.Struct):
    tokens: tuple[int, ...]
    max_model_len: int | None = None


@dataclass(slots=True)
class StepTokens:
    """Ids from the tokenizer of `model` behind `http`: the conversation's once, and each step's once, by its text.

    With a `step_token` a step is stripped of blank space at its ends, and `mark`, the token's id, follows it. Steps
    are read one by one, so a token never spans two. `most` is the model's context, where the server tells it.
    """

    name: str
    http: Transport
    model: str
    step_token: str | None = None
    most: int | None = None
    mark: int | None = None
    _head: tuple[int, ...] | None = None
    _steps: dict[str, tuple[int, ...]] = field(default_factory=dict)

    async def learn(self, messages: Sequence[Message], texts: Iterable[str]) -> list[EngineError]:
        """Tokenize what is not known yet; the failures of steps that could not be.

        With a `step_token` all steps go into one call, else each is a call, at once. Raises EngineError where the
        conversation cannot be tokenized.
        """
        if self._head is None:
            body = {"messages": messages, "add_generation_prompt": True}
            head = await self._tokenize(body)
            self._head, self.most = head.tokens, head.max_model_len
        new = [text for text in dict.fromkeys(texts) if text not in self._steps]
        if not new:
            return []
        calls = [self._learn_marked(new)] if self.step_token else map(self._learn_one, new)
        results = await asyncio.gather(*calls, return_exceptions=True)
        failures: list[EngineError] = []
        for result in results:
            if isinstance(result, EngineError):
                failures.append(result)
            elif result is not None:
                raise result
        return failures

    def ids(self, steps: Sequence[str]) -> list[int] | None:
        """The conversation and the steps as one prompt; None where a step is not known."""
        ids = list(self._head or ())
        for text in steps:
            if text not in self._steps:
                return None
            ids += self._steps[text]
        return ids

    def ends(self, steps: Sequence[str]) -> list[int]:
        """Where each step's last token stands in `ids(steps)`."""
        lengths = (len(self._steps[text]) for text in steps)
        return [end - 1 for end in accumulate(lengths, initial=len(self._head or ()))][1:]

    async def _learn_one(self, text: str) -> None:
        self._steps[text] = (await self._tokenize({"prompt": text})).tokens

    async def _learn_marked(self, texts: Sequence[str]) -> None:
        """A special token splits a text before anything else does, so ids that were joined by it part at its id.

        It comes twice in front: two equal ids first say that it is one token, and which.
        """
        token = str(self.step_token)
        joined = token.join(["", "", *(_without(token, text) for text in texts)])
        ids = (await self._tokenize({"prompt": joined})).tokens
        mark = ids[0] if len(ids) > 1 and ids[0] == ids[1] else None
        parts = _parted(ids, mark)
        if mark is None or len(parts) != 2 + len(texts):
            raise EngineGarbage(
                f"{self.name} does not read its step_token {token[:100]!r} as a token of its own. Configure a special "
                "token of its model, or none."
            )
        self.mark = mark
        self._steps |= {text: (*part, mark) for text, part in zip(texts, parts[2:], strict=True)}

    async def _tokenize(self, body: dict[str, object]) -> _Tokenized:
        body = {"model": self.model, "add_special_tokens": False, **body}
        return decode(await self.http.post("/tokenize", body), _Tokenized)


def _without(token: str, text: str) -> str:
    """A step's text as it is marked; a `token` that it spells itself would feign another step."""
    while token in text:
        text = text.replace(token, "")
    return text.strip()


def _parted(ids: Sequence[int], mark: int | None) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for token in ids:
        if token == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
