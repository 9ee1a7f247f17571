"""Orders of candidates that strategies share. Ties go to the earliest drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from strategies.base import Candidate
from strategies.voting import Ballot


def by_score(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Highest score first; those without a score last."""
    return sorted(candidates, key=lambda c: (c.score is None, -(c.score or 0.0), c.index))


def by_answer(candidates: Sequence[Candidate], answers: Sequence[str]) -> list[Candidate]:
    """The best candidate of each of `answers`, in that order; then all the others, ordered likewise.

    So the first k are k different answers, where there are as many. Candidates whose answer is not among `answers`
    come last.
    """
    place = {answer: i for i, answer in enumerate(answers)}
    ordered = sorted(by_score(candidates), key=lambda c: place.get(c.answer or "", len(place)))
    best: dict[str, Candidate] = {}
    for candidate in ordered:
        if candidate.answer in place:
            best.setdefault(candidate.answer or "", candidate)
    first = list(best.values())
    chosen = {candidate.index for candidate in first}
    return first + [candidate for candidate in ordered if candidate.index not in chosen]


def ballot(candidates: Iterable[Candidate], group: Callable[[str], str] = str) -> Ballot:
    """The votes of all candidates that have an answer."""
    return Ballot((c.answer for c in candidates if c.answer is not None), group)


def with_votes(candidates: Iterable[Candidate], votes: Ballot) -> list[Candidate]:
    """Each candidate with the votes that its answer got."""
    return [
        replace(c, votes=votes.counts.get(c.answer, 0)) if c.answer is not None else c for c in candidates
    ]
