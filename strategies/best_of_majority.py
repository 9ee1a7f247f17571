"""Best of majority: among the answers that come up often enough, those with the highest reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import ballot, by_answer, with_votes
from strategies.responding import respond
from strategies.search import Search


@dataclass(frozen=True, slots=True)
class BestOfMajority:
    """N samples; of the answers with frequency ≥ `alpha`, the `n` of the request with the highest mean reward.

    Frequent answers keep the reward model from being fooled by a rare one, so that accuracy never falls as N grows.
    Where no answer is frequent enough, the most frequent ones qualify; ties go to more votes, then first seen.

    Cost: N samples and N scores. Source: Best-of-Majority, 2510.03199, algorithm 1; the mean reward per answer and
    the fallback are ours.
    """

    alpha: Annotated[
        float, Field(ge=0, le=1, description="Least share of the samples that an answer needs.")
    ] = 0.1

    name: ClassVar[str] = "best_of_majority"
    verifier: ClassVar[VerifierNeed] = "default"

    async def run(self, search: Search) -> Outcome:
        drawn: list[Candidate] = []
        with search.spending():
            drawn = await respond(search, search.samples_left)
        votes = ballot(drawn)
        scored = with_votes(await search.score(drawn), votes)
        qualified = self.qualified(scored)
        search.report("votes", counts=dict(votes.counts), qualified=qualified)
        return search.outcome(by_answer(scored, ranked_by_reward(scored, qualified)))

    def qualified(self, candidates: Sequence[Candidate]) -> list[str]:
        """Answers given by at least `alpha` of the candidates, first seen first; the most frequent where none is."""
        votes = ballot(candidates)
        frequent = [answer for answer, count in votes.counts.items() if count / len(candidates) >= self.alpha]
        return frequent or votes.winners()


def mean_reward(candidates: Sequence[Candidate], answer: str) -> float | None:
    """Mean reward of the candidates with `answer`, of those that have one."""
    rewards = [c.score for c in candidates if c.answer == answer and c.score is not None]
    return sum(rewards) / len(rewards) if rewards else None


def ranked_by_reward(candidates: Sequence[Candidate], answers: Sequence[str]) -> list[str]:
    """`answers` by mean reward, highest first; ties by votes, then first seen; those without a reward last."""
    rewards = {answer: mean_reward(candidates, answer) for answer in answers}
    votes = ballot(candidates).counts
    return sorted(answers, key=lambda a: (rewards[a] is None, -(rewards[a] or 0.0), -votes[a]))
