"""Best of N: draw N samples, keep the one with the highest reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import answers_by_weight, ballot, by_answer, by_score, with_votes
from strategies.responding import respond
from strategies.scores import bounded, probabilities
from strategies.search import Search
from verifiers.base import Score


@dataclass(frozen=True, slots=True)
class BestOfN:
    """N samples in one call, ranked by reward.

    `select: argmax` takes the highest reward; `softmax` draws without replacement with probability ∝ exp(r/T);
    `weighted` adds up the rewards of equal answers and takes the best response of the best answer. Added rewards are
    weights, so where any lies outside [0, 1] all go through a sigmoid first.

    Cost: N samples and N scores. Source: Cobbe et al. 2110.14168; softmax selection as in 2512.19905, section 2;
    weighted as in Li et al. 2206.02336.
    """

    select: Annotated[Literal["argmax", "softmax", "weighted"], Field(description="How rewards choose.")] = (
        "argmax"
    )
    temperature: Annotated[
        float, Field(gt=0, le=1e6, description="T of `select: softmax`, in units of reward.")
    ] = 1.0

    name: ClassVar[str] = "best_of_n"
    verifier: ClassVar[VerifierNeed] = "default"

    async def run(self, search: Search) -> Outcome:
        candidates: list[Candidate] = []
        with search.spending():
            candidates = await respond(search, search.samples_left)
        scored = await search.score(candidates)
        scored = with_votes(scored, ballot(scored))
        return search.outcome(self._ranked(scored, search.rng))

    def _ranked(self, scored: Sequence[Candidate], rng: Random) -> list[Candidate]:
        if self.select == "softmax":
            return softmax_order(scored, self.temperature, rng)
        if self.select == "weighted":
            return by_answer(scored, answers_by_weight(scored, _weights(scored)))
        return by_score(scored)


def _weights(scored: Sequence[Candidate]) -> list[Score]:
    scores = [c.score for c in scored]
    return probabilities(scores, bounded(scores))


def softmax_order(scored: Sequence[Candidate], temperature: float, rng: Random) -> list[Candidate]:
    """Candidates drawn one by one without replacement, each with probability ∝ exp(score/T); unscored ones last.

    Sorting by score/T + Gumbel noise does exactly that (Kool et al. 1903.06059, the Gumbel-top-k trick).
    """

    def noisy(score: float | None) -> float:
        return (
            -math.inf
            if score is None
            else score / temperature - math.log(-math.log(rng.uniform(1e-12, 1 - 1e-12)))
        )

    keys = {c.index: noisy(c.score) for c in scored}
    return sorted(scored, key=lambda c: -keys[c.index])
