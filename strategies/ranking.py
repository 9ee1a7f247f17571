"""Orders of candidates that strategies share. Ties go to the earliest drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from strategies.base import Candidate
from strategies.voting import Ballot
from verifiers.base import Score


def by_score(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Highest score first; those without a score last; of equals, the one given first."""
    return sorted(candidates, key=lambda c: (c.score is None, -(c.score or 0.0)))


def by_answer(candidates: Sequence[Candidate], answers: Sequence[str]) -> list[Candidate]:
    """The best candidate of each of `answers`, in that order; then all the others, ordered likewise.

    So the first k are k different answers, where there are as many. Candidates whose answer is not among `answers`
    come last.
    """
    groups: dict[str | None, list[Candidate]] = {answer: [] for answer in answers}
    others: list[Candidate] = []
    for candidate in by_score(candidates):
        groups.get(candidate.answer, others).append(candidate)
    given = [group for group in groups.values() if group]
    return [group[0] for group in given] + [c for group in given for c in group[1:]] + others


def answers_by_weight(candidates: Sequence[Candidate], weights: Sequence[Score]) -> list[str]:
    """Answers by the sum of their candidates' weights, highest first; ties by first seen. None weighs nothing."""
    sums: dict[str, float] = {}
    for candidate, weight in zip(candidates, weights, strict=True):
        if candidate.answer is not None:
            sums[candidate.answer] = sums.get(candidate.answer, 0.0) + (weight or 0.0)
    return sorted(sums, key=lambda answer: -sums[answer])


def finished_first(ranked: Iterable[Candidate]) -> list[Candidate]:
    """Responses that ended, in the given order; then those that were cut, by score, the longest first where equal."""
    ended: list[Candidate] = []
    cut: list[Candidate] = []
    for candidate in ranked:
        (ended if candidate.response.sample.finish_reason == "stop" else cut).append(candidate)
    return ended + by_score(sorted(cut, key=lambda c: -len(c.response.sample.tokens)))


def ballot(candidates: Iterable[Candidate], group: Callable[[str], str] = str) -> Ballot:
    """The votes of all candidates that have an answer."""
    return Ballot((c.answer for c in candidates if c.answer is not None), group)


def with_votes(candidates: Iterable[Candidate], votes: Ballot) -> list[Candidate]:
    """Each candidate with the votes that its answer got."""
    return [c.voted(votes.counts.get(c.answer or "", 0)) for c in candidates]
