"""The contract of all strategies: a problem and one door in, an outcome out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

import msgspec

from budgets.budget import Unit
from engines.base import Message
from verifiers.base import Response, Score

if TYPE_CHECKING:
    from strategies.search import Search

StoppedBecause = Literal[
    "completed",
    "accepted",
    "consensus",
    "budget_samples",
    "budget_tokens",
    "budget_seconds",
    "budget_eflops",
    "budget_usd",
    "engine_failed",
]

BUDGET_ENDED: Final[Mapping[Unit, StoppedBecause]] = {
    "samples": "budget_samples",
    "tokens": "budget_tokens",
    "seconds": "budget_seconds",
    "eflops": "budget_eflops",
    "usd": "budget_usd",
}

VerifierNeed = Literal["none", "default", "required"]
"""Whether a strategy does without a verifier, takes `self_certainty` where none is named, or must be given one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be answered: the conversation, its prompt as token ids, how many answers to return.

    A sample is at most `max_tokens` long and ends at any of `stop`; `sampling` holds the engine's own fields.
    """

    messages: tuple[Message, ...]
    prompt: tuple[int, ...]
    max_tokens: int
    k: int = 1
    stop: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)


class Candidate(msgspec.Struct, frozen=True):
    """A finished response, in the order drawn (`index`), with its score and its answer's votes once they are known."""

    index: int
    response: Response
    score: Score = None
    votes: int = 0

    @property
    def answer(self) -> str | None:
        return self.response.answer

    @property
    def text(self) -> str:
        return self.response.sample.text

    def scored(self, score: Score) -> Candidate:
        return Candidate(self.index, self.response, score, self.votes)

    def voted(self, votes: int) -> Candidate:
        return Candidate(self.index, self.response, self.score, votes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Candidates best first, why the strategy stopped, what it estimated on the way, and sentences on its decisions."""

    candidates: tuple[Candidate, ...]
    stopped_because: StoppedBecause
    estimates: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class Strategy(Protocol):
    """A frozen dataclass of parameters with a `run` that spends through `search` alone and keeps no state.

    Each is deterministic in what `search` returned and in `search.rng`, and returns the best in hand when the budget
    ends.
    """

    name: ClassVar[str]
    verifier: ClassVar[VerifierNeed]

    async def run(self, search: Search) -> Outcome: ...
