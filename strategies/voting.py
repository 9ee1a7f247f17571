"""Counting votes, and when enough have been counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import count
from math import comb


class Ballot:
    """Votes for answers in first-seen order. `group` names an answer's kind; the leading kind's answers rank first.

    For tool calls the kind is the function's name: the name is voted on first, then its arguments.
    """

    def __init__(self, votes: Iterable[str] = (), group: Callable[[str], str] = str) -> None:
        self.counts: dict[str, int] = {}
        self._group = group
        for answer in votes:
            self.add(answer)

    def add(self, answer: str) -> None:
        self.counts[answer] = self.counts.get(answer, 0) + 1

    def ranked(self) -> list[str]:
        """Answers, most votes first; ties by first seen."""
        kinds: dict[str, int] = {}
        for answer, votes in self.counts.items():
            kinds[self._group(answer)] = kinds.get(self._group(answer), 0) + votes
        order = {kind: place for place, kind in enumerate(sorted(kinds, key=lambda kind: -kinds[kind]))}
        return sorted(self.counts, key=lambda answer: (order[self._group(answer)], -self.counts[answer]))

    def contests(self) -> list[tuple[int, int]]:
        """The two highest counts in each vote that decides what ranks first: among kinds, within the leading kind."""
        kinds, within = Ballot(), Ballot()
        leader = self._group(self.ranked()[0]) if self.counts else ""
        for answer, votes in self.counts.items():
            kind = self._group(answer)
            kinds.counts[kind] = kinds.counts.get(kind, 0) + votes
            if kind == leader:
                within.counts[answer] = votes
        return [kinds.top_two(), within.top_two()]

    def winners(self) -> list[str]:
        """All answers with the most votes, in first-seen order."""
        return [answer for answer, votes in self.counts.items() if votes == self.top_two()[0]]

    def top_two(self) -> tuple[int, int]:
        """The two highest counts, 0 where there are fewer answers."""
        first, second, *_ = (*sorted(self.counts.values(), reverse=True), 0, 0)
        return first, second


@lru_cache(maxsize=4096)
def beta_probability(first: int, second: int) -> float:
    """Posterior probability that the leader with `first` votes is really ahead of the runner-up with `second`.

    P(p1 > p2) = 1 − I_½(v1+1, v2+1), for a uniform prior on the leader's share of their votes; that is
    1 − Σ_{i ≤ v2} C(n, i) / 2^n with n = v1+v2+1, summed from its largest term down. Needs first ≥ second ≥ 0.
    Source: Adaptive-Consistency, Aggarwal et al. 2305.11860, Beta stopping.
    """
    draws = first + second + 1
    term: float = comb(draws, second) / (1 << draws)
    tail = 0.0
    for i in range(second, -1, -1):
        tail += term
        if term < tail * 1e-17:
            break
        term *= i / (draws - i + 1)
    return 1 - tail


def beta_votes_needed(first: int, second: int, confidence: float) -> int:
    """Fewest further votes, all for the leader, after which `beta_probability` reaches `confidence` (0: it has)."""
    return next(more for more in count() if beta_probability(first + more, second) >= confidence)


def lead_votes_needed(first: int, second: int, k: int) -> int:
    """Fewest further votes, all for the leader, after which it leads by `k` (0: it does).

    Source: first-to-ahead-by-k voting, MAKER 2511.09030.
    """
    return max(0, k - (first - second))
