"""What a simulated vLLM server answers to a completion, whole or in pieces."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final
from uuid import uuid4

from engines.base import Call, Chunk, Sample, Usage
from engines.simulated.engine import MODEL
from engines.simulated.words import Tokens, decode

FINGERPRINT: Final = "simulated"


class Writer:
    """Writes the answer to one `call`, with token ids in it where `ids`."""

    def __init__(self, call: Call, *, ids: bool) -> None:
        self._call = call
        self._ids = ids
        self._head = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": MODEL,
            "system_fingerprint": FINGERPRINT,
        }
        self._begun: dict[int, int] = defaultdict(int)

    def whole(self, samples: Sequence[Sequence[Sample]], usage: Usage) -> dict[str, Any]:
        choices = []
        for prompt, drawn in enumerate(samples):
            for i, sample in enumerate(drawn):
                choice = self._choice(prompt, i, sample.text, sample.tokens, 0, sample)
                choice |= {"finish_reason": sample.finish_reason, "stop_reason": sample.stopped_at}
                choices.append(choice | self._prompt_ids(prompt))
        return {**self._head, "choices": choices, "usage": write_usage(usage)}

    def piece(self, chunk: Chunk, sample: Sample) -> dict[str, Any]:
        """The next event of a stream: `chunk`, of `sample`."""
        index = chunk.prompt * self._call.n + chunk.choice
        start = self._begun[index]
        self._begun[index] += len(chunk.tokens)
        choice = self._choice(chunk.prompt, chunk.choice, chunk.text, chunk.tokens, start, sample)
        choice |= {"finish_reason": chunk.finish_reason, "stop_reason": chunk.stopped_at}
        return {**self._head, "choices": [choice if start else choice | self._prompt_ids(chunk.prompt)]}

    def last(self, usage: Usage) -> dict[str, Any]:
        """The event that tells a stream's usage."""
        return {**self._head, "choices": [], "usage": write_usage(usage)}

    def _choice(
        self, prompt: int, i: int, text: str, tokens: Tokens, start: int, sample: Sample
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": prompt * self._call.n + i, "text": text, "logprobs": None}
        if self._call.logprobs is not None:
            words = [decode((token,)) for token in tokens]
            offset = len(decode(sample.tokens[:start]))
            top = sample.top_logprobs[start : start + len(tokens)]
            choice["logprobs"] = {
                "text_offset": list(accumulate(map(len, words), initial=offset))[:-1],
                "token_logprobs": [next(iter(at.values())) for at in top],
                "tokens": words,
                "top_logprobs": top,
            }
        return choice | {"token_ids": tokens} if self._ids else choice

    def _prompt_ids(self, prompt: int) -> dict[str, Any]:
        return {"prompt_token_ids": self._call.prompts[prompt]} if self._ids else {}


def write_usage(usage: Usage) -> dict[str, Any]:
    generated = usage.completion_tokens or 0
    return {
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
