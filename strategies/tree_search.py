"""Search over a tree of steps: a width shared out anew, at every depth, among the leaves that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from strategies.base import Candidate, Outcome
from strategies.ranking import answers_by_weight, ballot, by_answer, by_score, finished_first, with_votes
from strategies.scores import probabilities
from strategies.search import Search
from strategies.stepping import Stepwise, Walk
from strategies.tree import ROOT


@dataclass(frozen=True, slots=True)
class TreeSearch(Stepwise, ABC):
    """What all tree strategies share: they differ in how a depth's leaves share the width.

    The width is N at the prompt, and falls by one with every response that finishes. At the end all finished
    responses answer, ranked by `select`.
    """

    select: Annotated[
        Literal["weighted", "argmax"],
        Field(description="The answer with most reward in sum, or the response with the highest score."),
    ] = "weighted"

    async def run(self, search: Search) -> Outcome:
        walk = Walk(search, self)
        samples = search.samples_left
        frontier: Mapping[int, int] = {ROOT: samples}
        with search.spending():
            while frontier:
                grown = await walk.grow(frontier)
                frontier = dict.fromkeys(walk.live(grown), 1)
                width = self.width(samples, walk)
                frontier = await self.share(walk, grown, width) if width > 0 and frontier else {}
        ranked = await self._ranked(walk, [node for node in (*frontier, *walk.stranded) if node != ROOT])
        return search.outcome(ranked, estimates=walk.chosen(ranked))

    def width(self, samples: int, walk: Walk) -> int:
        """The continuations of the next depth, of the `samples` at the prompt."""
        return samples - len(walk.finished)

    @abstractmethod
    async def share(self, walk: Walk, grown: Sequence[int], width: int) -> Mapping[int, int]:
        """How many continuations, `width` in all, each leaf gets that is kept of those `grown` at this depth."""

    async def _ranked(self, walk: Walk, cut: Sequence[int]) -> list[Candidate]:
        """Finished responses by `select`; after them the paths that the budget's end cut."""
        drawn = await walk.candidates([*walk.finished, *cut])
        ended = [c for c in drawn if c.response.sample.finish_reason == "stop"] or drawn
        drawn = with_votes(drawn, ballot(ended))
        if self.select == "argmax":
            return finished_first(by_score(drawn))
        weights = probabilities([c.score for c in ended], walk.bounded)
        ranked = by_answer(drawn[: len(walk.finished)], answers_by_weight(ended, weights))
        return finished_first([*ranked, *drawn[len(walk.finished) :]])
