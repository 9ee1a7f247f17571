"""A stream's chunks put together into samples."""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.base import Call, Chunk, EngineGarbage, FinishReason, Sample


@dataclass(slots=True)
class _Part:
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    tokens_with_logprob: int = 0
    last_token: str = ""
    done: bool = False

    def sample(self, finish: FinishReason, stopped_at: str | None) -> Sample:
        known = self.tokens and self.tokens_with_logprob == len(self.tokens)
        logprob = self.logprob if known else None
        return Sample(
            "".join(self.texts),
            tuple(self.tokens),
            finish,
            logprob,
            stopped_at=stopped_at,
            last_token=self.last_token,
        )


class Assembly:
    """Collects the chunks of one streamed `Call`; `tokens` counts all that came of any sample and is not void."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._parts: dict[tuple[int, int], _Part] = {}
        self.tokens = 0

    def add(self, chunk: Chunk) -> Sample | None:
        """Take a chunk; the sample that it finishes, if it does. Raises EngineGarbage past `max_tokens`."""
        place = chunk.prompt, chunk.choice
        if chunk.anew and place in self._parts:
            self.tokens -= len(self._parts.pop(place).tokens)
        part = self._parts.setdefault(place, _Part())
        if part.done or len(part.tokens) + len(chunk.tokens) > self._call.max_tokens:
            raise EngineGarbage("The engine's stream goes on past a sample's end.")
        part.texts.append(chunk.text)
        part.tokens.extend(chunk.tokens)
        self.tokens += len(chunk.tokens)
        part.last_token = chunk.last_token or part.last_token
        if chunk.logprob is not None:
            part.logprob += chunk.logprob
            part.tokens_with_logprob += len(chunk.tokens)
        if chunk.finish_reason is None:
            return None
        part.done = True
        return part.sample(chunk.finish_reason, chunk.stopped_at)
