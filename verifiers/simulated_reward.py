"""The simulated world's rewards and embeddings in process: for benchmarks and tests, never a default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engines.base import Message
from engines.simulated.world import SimulatedWorld
from verifiers.base import Embedded, Response, Verdict


@dataclass(frozen=True, slots=True)
class SimulatedProcessReward:
    """The process reward of `world` after the last step of each response so far, in (0, 1).

    What `ProcessReward`, aggregated `last`, gets from the server of `aliquot simulate`. Read are the responses' tokens.
    """

    world: SimulatedWorld

    name: ClassVar[str] = "simulated-prm"
    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        problem = self.world.asked_in(messages)
        scores = [self.world.process_score(problem, _steps(response)) for response in responses]
        return Verdict(tuple(scores), _read(responses))


@dataclass(frozen=True, slots=True)
class SimulatedOutcomeReward:
    """The outcome reward of `world` for each response, in (0, 1); a `hackable` one loves a few wrong answers."""

    world: SimulatedWorld
    hackable: bool = False

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "simulated-orm-hackable" if self.hackable else "simulated-orm"

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        problem = self.world.asked_in(messages)
        scores = [
            self.world.outcome_score(problem, response.content, hackable=self.hackable)
            for response in responses
        ]
        return Verdict(tuple(scores), _read(responses))


@dataclass(frozen=True, slots=True)
class SimulatedEmbedder:
    """Vectors of `world`: steps that reach the same number in the same way are close."""

    world: SimulatedWorld

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        return Embedded(tuple(map(self.world.embedding, texts)))


def _steps(response: Response) -> Sequence[str]:
    """The response's steps; all of its text where it was drawn whole."""
    return [step.text for step in response.steps] or [response.sample.text]


def _read(responses: Sequence[Response]) -> int:
    return sum(len(response.sample.tokens) for response in responses)
