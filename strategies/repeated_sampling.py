"""Repeated sampling: draw in waves until the verifier accepts a sample or the budget ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import Annotated, Any, ClassVar

from pydantic import Field

from budgets.accuracy import pass_at_k, pass_until
from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import ballot, by_score, with_votes
from strategies.responding import respond
from strategies.search import Search

Wave = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True, slots=True)
class RepeatedSampling:
    """Waves of samples, each scored, until `accept` of them score at least `accept_at` or the budget ends.

    With `accept` 1 the samples of a wave that still run when one is accepted are cancelled. With more, waves run to
    their end, so that `pass_until` is unbiased: (r−1)/(K−1), the r-th accepted sample being the K-th drawn. With
    `accept` above the budget's samples nothing stops the search, and `coverage` (pass@k for k = 1 … N) is unbiased.
    Neither estimate is given where a sample failed or has no score.

    Cost: N samples and N scores at most. Source: Large Language Monkeys 2407.21787; PassUntil 2310.03262.
    """

    waves: Annotated[
        tuple[Wave, ...] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Sizes of the waves, the last repeated; null: 1, 2, 4, 8, …",
        ),
    ] = None
    accept: Annotated[
        int, Field(ge=1, le=10_000, description="Accepted samples that end the search (r).")
    ] = 1
    accept_at: Annotated[float, Field(allow_inf_nan=False, description="Least score that accepts.")] = 0.5

    name: ClassVar[str] = "repeated_sampling"
    verifier: ClassVar[VerifierNeed] = "required"

    async def run(self, search: Search) -> Outcome:
        stoppable = self.accept <= search.samples_left
        drawn: list[Candidate] = []
        with search.spending():
            for wave in self._sizes():
                drawn += await self._wave(search, wave)
                if self._accepted(drawn) >= self.accept:
                    break
                if not search.samples_left:
                    search.limit("samples")
                    break
        accepted = self._accepted(drawn) >= self.accept
        complete = len(drawn) == search.samples_begun and all(c.score is not None for c in drawn)
        estimates = self._estimates(drawn, stoppable, complete)
        search.report("accepted" if accepted else "not_accepted", **estimates)
        ranked = with_votes(by_score(drawn), ballot(drawn))
        return search.outcome(ranked, "accepted" if accepted else "completed", estimates)

    async def _wave(self, search: Search, size: int) -> list[Candidate]:
        async def accepts(candidate: Candidate) -> bool:
            return self._accepted(await search.score([candidate])) > 0

        cancels = self.accept == 1 and min(size, search.samples_left) > 1
        return await search.score(await respond(search, size, accepts if cancels else None))

    def _sizes(self) -> Iterator[int]:
        if self.waves is None:
            return (2**i for i in count())
        return chain(self.waves, repeat(self.waves[-1]))

    def _accepted(self, candidates: Sequence[Candidate]) -> int:
        return sum(c.score is not None and c.score >= self.accept_at for c in candidates)

    def _estimates(self, drawn: Sequence[Candidate], stoppable: bool, complete: bool) -> dict[str, Any]:
        right, total = self._accepted(drawn), len(drawn)
        estimates: dict[str, Any] = {"samples": total, "accepted": right}
        if not complete:
            return estimates
        if not stoppable and total:
            estimates["coverage"] = {str(k): pass_at_k(total, right, k) for k in range(1, total + 1)}
        if right >= self.accept >= 2:
            draws = next(k for k in range(1, total + 1) if self._accepted(drawn[:k]) == self.accept)
            estimates["pass_until"] = pass_until(self.accept, draws)
        return estimates
