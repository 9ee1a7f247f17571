"""Majority voting (self-consistency): draw N samples, keep the most frequent answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import ballot, by_answer, with_votes
from strategies.responding import respond
from strategies.search import Search
from strategies.voting import Ballot, beta_votes_needed, lead_votes_needed


@dataclass(frozen=True, slots=True)
class Majority:
    """N samples, the most frequent answer; where a verifier is named, its score picks among responses that agree.

    `stop: never` draws all N in one call. `beta` stops once the leader leads the runner-up with posterior probability
    ≥ `confidence`; `ahead_by_k` once the first answer leads by `k`, votes of red-flagged samples (cut off, or longer
    than `red_flag_tokens`) thrown away. Either draws the fewest samples that could decide, then the fewest that still
    could, so that none is drawn in vain; a `wave` draws that many at once instead, which is quicker, and cancels
    those still running when the decision falls.

    Cost: at most N samples. Source: self-consistency, Wang et al. 2203.11171; Adaptive-Consistency, Aggarwal et al.
    2305.11860; red flags and first-to-ahead-by-k, MAKER 2511.09030.
    """

    stop: Annotated[
        Literal["never", "beta", "ahead_by_k"], Field(description="When enough votes are in.")
    ] = "never"
    confidence: Annotated[float, Field(gt=0.5, lt=1, description="Threshold of `stop: beta`.")] = 0.95
    k: Annotated[int, Field(ge=1, le=1000, description="Lead that decides under `stop: ahead_by_k`.")] = 3
    red_flag_tokens: Annotated[
        int | None, Field(ge=1, description="Under `stop: ahead_by_k`, longer samples have no vote.")
    ] = None
    wave: Annotated[
        int | None,
        Field(
            ge=1,
            description="Samples drawn at once under a stopping rule; null: the fewest that could decide.",
        ),
    ] = None

    name: ClassVar[str] = "majority"
    verifier: ClassVar[VerifierNeed] = "none"

    async def run(self, search: Search) -> Outcome:
        drawn: list[Candidate] = []
        with search.spending():
            if self.stop == "never":
                drawn = await respond(search, search.samples_left)
            else:
                await self._until_decided(search, drawn)
        votes = self._count(search, drawn)
        scored = with_votes(await search.score(drawn), votes)
        decided = self.stop != "never" and self._needed(votes) == 0
        search.report("votes", counts=dict(votes.counts), decided=decided)
        return search.outcome(by_answer(scored, votes.ranked()), "consensus" if decided else "completed")

    async def _until_decided(self, search: Search, drawn: list[Candidate]) -> None:
        while needed := self._needed(votes := self._count(search, drawn)):

            async def decides(candidate: Candidate, votes: Ballot = votes) -> bool:
                if self._has_vote(candidate):
                    votes.add(candidate.answer or "")
                return self._needed(votes) == 0

            wave = self.wave or needed
            drawn += await respond(search, wave, decides if wave > needed else None)

    def _count(self, search: Search, drawn: Sequence[Candidate]) -> Ballot:
        return ballot(filter(self._has_vote, drawn), search.answers.group)

    def _needed(self, votes: Ballot) -> int:
        """Fewest further votes for what leads that could decide; 0 once it is decided."""
        if self.stop == "beta":
            return max(beta_votes_needed(*contest, self.confidence) for contest in votes.contests())
        return max(lead_votes_needed(*contest, self.k) for contest in votes.contests())

    def _has_vote(self, candidate: Candidate) -> bool:
        """Whether it has an answer, and no red flag where those are looked at."""
        sample = candidate.response.sample
        too_long = self.red_flag_tokens is not None and len(sample.tokens) > self.red_flag_tokens
        flagged = self.stop == "ahead_by_k" and (sample.finish_reason == "length" or too_long)
        return candidate.answer is not None and not flagged
