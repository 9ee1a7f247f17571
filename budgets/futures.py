"""What further samples of a prompt may be, drawn from its posterior, and how right each way to select would then be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from budgets.difficulty import Array
from budgets.posterior import Evidence, vote_weights, which_right
from budgets.prediction import Options, Strategy
from budgets.score_evidence import score_evidence
from budgets.uncertainty import FittedTask
from budgets.wrong_answers import WrongAnswers

Places = NDArray[np.signedinteger[Any]]

_STICKS = 12
_SEED = 20
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to select among the samples in the end."""

    strategy: Strategy
    options: Options


def rules(verifier: bool, k: int) -> tuple[Rule, ...]:
    """Those that are tried, the simplest first: with equal prospects the first is taken."""
    voting = Rule("majority", Options(k=k))
    if not verifier:
        return (voting,)
    return (
        voting,
        Rule("best_of_n", Options(k=k, select="weighted")),
        Rule("best_of_n", Options(k=k)),
        Rule("best_of_majority", Options(k=k)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """A number of samples in each future: `weight`, the chance that an answer is right, (rows, columns)."""

    weight: Array
    ballot: _Ballot

    def likeliest(self, k: int) -> Array:
        """The chance, in each future, that one of the k likeliest answers is right."""
        if k == 1:
            return np.asarray(self.weight.max(axis=1))
        highest = np.partition(self.weight, -min(k, self.weight.shape[1]), axis=1)
        return np.asarray(highest[:, -k:].sum(axis=1))

    def of(self, columns: Places) -> Array:
        """The chance, in each future, that one of these answers is right."""
        return np.asarray(self.weight[:, columns].sum(axis=1))

    def selected(self, rule: Rule) -> Array:
        """The chance, in each future, that what the rule selects is right."""
        return np.asarray(np.take_along_axis(self.weight, self.ballot.chosen(rule), axis=1).sum(axis=1))


class Futures:
    """`rows` futures of a prompt, each `further` samples long: the same for the same arguments.

    The right answer and p are drawn from the posterior, then right and wrong samples and their scores from the fitted
    numbers; wrong ones repeat those seen as the Pitman–Yor process given these does. Column 0 stands for no answer,
    1 … for the answers seen, then come the right one where it is unseen, and new wrong ones.
    """

    def __init__(
        self, fitted: FittedTask, evidence: Evidence, further: int, *, verifier: bool, rows: int = 256
    ) -> None:
        self._evidence, self._rows = evidence, rows
        self._verifier = score_evidence(fitted.verifier)
        self._weights = vote_weights(fitted, evidence.drawn + further)
        seen = np.repeat(np.arange(len(evidence.votes)) + 1, evidence.votes)
        known = np.array(list(chain.from_iterable(evidence.scores)) or [None] * len(seen), dtype=float)
        columns, scores = self._drawn(fitted, further)
        if not verifier:
            scores[:] = math.nan
        self._columns = np.concatenate([np.tile(seen, (rows, 1)), columns], axis=1)
        self._scores = np.concatenate([np.tile(known, (rows, 1)), scores], axis=1)
        self._ratios = self._verifier.of(self._scores)
        # Of equal votes the first seen wins: among those yet unseen, which comes first is left to chance.
        places = np.random.default_rng(_SEED).random((rows, 2 + len(evidence.votes) + _STICKS + further))
        places[:, : len(evidence.votes) + 1] = np.arange(len(evidence.votes) + 1) - len(evidence.votes)
        self._order = 1e-9 * places

    def after(self, further: int) -> Ahead:
        """What is known after so many more samples, from 0 to all."""
        upto = self._evidence.answered + further
        columns, scores = self._columns[:, :upto], self._scores[:, :upto]
        width = 2 + len(self._evidence.votes) + _STICKS + further
        drawn = self._evidence.drawn + further
        ballot = _Ballot(columns, scores, self._order[:, :width], drawn, self._verifier.logits)
        weight = self._weights.of(ballot.counts, ballot.added(self._ratios[:, :upto]), drawn)[:, :-1]
        return Ahead(weight, ballot)

    def _drawn(self, fitted: FittedTask, further: int) -> tuple[Places, Array]:
        """Columns and scores of further samples, (rows, further) each."""
        rng, rows, votes = np.random.default_rng(_SEED), self._rows, self._evidence.votes
        owner, a, b, right_reach, wrong_reach = self._prompts(fitted)
        p = rng.beta(a, b)
        right_upto = (p * right_reach)[:, None]
        wrong_upto = right_upto + ((1 - p) * wrong_reach)[:, None]
        kind, which_wrong, score = rng.random((3, rows, further))
        right, silent = kind < right_upto, kind >= wrong_upto
        shares = _wrong_shares(fitted.wrong.wrong, votes, owner, rng)
        # A sample beyond the last named share is an answer that no other gives.
        pick = (which_wrong[:, :, None] >= np.cumsum(shares, axis=1)[:, None, :]).sum(axis=2)
        pick = np.where(pick == shares.shape[1], pick + np.arange(further), pick)
        wrong = pick + 1 + (pick >= len(votes))
        columns = np.where(right, owner[:, None] + 1, np.where(silent, 0, wrong))
        return columns, np.where(silent, math.nan, self._verifier.drawn(right, score))

    def _prompts(self, fitted: FittedTask) -> tuple[Places, Array, Array, Array, Array]:
        """The right answer's place, p's Beta and the reach of right and of wrong samples in each future: (rows,).

        Even places instead of random ones: each case has its share of the futures.
        """
        evidence = self._evidence
        right, none = which_right(fitted, evidence)
        chances = np.array([*right, none])
        upto = np.cumsum(chances)
        place = (np.arange(self._rows) + 0.5) / self._rows * upto[-1]
        owner = np.minimum(np.searchsorted(upto, place), len(chances) - 1)
        rest = np.clip((place - upto[owner]) / chances[owner] + 1, 0.0, 1.0)
        votes = np.array([*evidence.votes, 0])[owner]
        drawn = np.empty((4, self._rows))
        for count in np.unique(votes).tolist():
            cases = self._weights.cases(count, evidence.answered - count, evidence.silent)
            shares = np.cumsum([case.weight for case in cases])
            which = np.minimum(np.searchsorted(shares, rest[votes == count] * shares[-1]), len(cases) - 1)
            parts = [(case.beta.a, case.beta.b, case.right_reach, case.wrong_reach) for case in cases]
            drawn[:, votes == count] = np.array(parts)[which].T
        return owner, *drawn


def _wrong_shares(
    wrong: WrongAnswers, votes: tuple[int, ...], owner: Places, rng: np.random.Generator
) -> Array:
    """Shares of wrong samples for each answer seen, 0 for the right one (`owner`), and for the first new ones.

    The posterior of a Pitman–Yor process: Dirichlet over those seen and all others, stick-breaking among the others.
    Source: Pitman, Combinatorial Stochastic Processes (2006), corollary 20 and theorem 3.2.
    """
    theta, d = wrong.concentration, wrong.discount
    rows, seen = len(owner), len(votes)
    others = np.array([vote - d for vote in votes]) * (np.arange(seen) != owner[:, None])
    answers = seen - (owner < seen)[:, None]
    left = np.maximum(_LEAST, theta + d * answers)
    parts = rng.standard_gamma(np.concatenate([others, left], axis=1))
    parts /= np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    stick = rng.beta(1 - d, np.maximum(_LEAST, theta + d * (answers + np.arange(1, _STICKS + 1))))
    before = np.cumprod(np.concatenate([np.ones((rows, 1)), 1 - stick[:, :-1]], axis=1), axis=1)
    return np.concatenate([parts[:, :-1], parts[:, -1:] * stick * before], axis=1)


class _Ballot:
    """Samples counted by answer: `columns` and `scores` of each row's, NaN where there is no score.

    `order`: tiny numbers, (rows, width), by which answers with equally many votes follow one another. `drawn`: samples
    with and without an answer.
    """

    def __init__(self, columns: Places, scores: Array, order: Array, drawn: int, logits: bool) -> None:
        self._columns, self._order, self._width, self._drawn = columns, order, order.shape[1], drawn
        self._cells = (columns + np.arange(len(columns))[:, None] * self._width).ravel()
        self._missing = np.isnan(scores)
        self._scores, self._logits = scores, logits
        self.counts = self.added().astype(int)

    def added(self, values: Array | None = None) -> Array:
        """The number, or the sum of `values`, of each answer's samples: (rows, width)."""
        weights = None if values is None else values.ravel()
        found: Array = np.bincount(self._cells, weights, len(self._columns) * self._width).astype(float)
        found = found.reshape(-1, self._width)
        found[:, 0] = 0
        return np.asarray(found)

    def chosen(self, rule: Rule) -> Places:
        """The columns of the answers that a rule selects, (rows, k or fewer); 0 for one that it has selected before."""
        options = rule.options
        if rule.strategy == "best_of_n" and options.select == "argmax":
            scores = np.where(self._missing | (self._columns == 0), -np.inf, self._scores)
            first = np.take_along_axis(self._columns, _highest(scores, options.k), axis=1)
            return np.where(_repeated(first), 0, first)
        return _highest(self._worth(rule), options.k)

    def _worth(self, rule: Rule) -> Array:
        if rule.strategy == "majority":
            return self.counts - self._order
        weighted = rule.strategy == "best_of_n"
        scores = expit(self._scores) if weighted and self._logits else self._scores
        total = self.added(np.where(self._missing, 0.0, scores))
        if weighted:
            return np.where(self.counts > 0, total, -np.inf)
        scored = self.added((~self._missing).astype(float))
        mean = np.divide(total, scored, out=np.zeros_like(total), where=scored > 0)
        often = (self.counts >= rule.options.alpha * self._drawn - 1e-9) & (self.counts > 0)
        often |= ~often.any(axis=1, keepdims=True) & (self.counts == self.counts.max(axis=1, keepdims=True))
        return np.where(often, mean + 1e-9 * self.counts, -np.inf)


def _repeated(columns: Places) -> NDArray[np.bool_]:
    """Whether a row has the same value further to the left: by sorting, as all pairs of 128 would take seconds."""
    order = np.argsort(columns, axis=1, kind="stable")
    ordered = np.take_along_axis(columns, order, axis=1)
    same = np.zeros(columns.shape, dtype=bool)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    again = np.empty_like(same)
    np.put_along_axis(again, order, same, axis=1)
    return again


def _highest(values: Array, k: int) -> Places:
    """The places of the k highest of each row, highest first, of equals the first."""
    if not values.shape[1]:
        return np.zeros((len(values), 0), dtype=int)
    if k == 1:
        return np.asarray(values.argmax(axis=1)[:, None])
    return np.argsort(-values, axis=1, kind="stable")[:, :k]
