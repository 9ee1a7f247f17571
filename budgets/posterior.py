"""What samples of one prompt say of it: which answer is right, and how hard the prompt is.

A sample gives the right answer with the prompt's probability p, else one that falls out as `WrongAnswers` says. Which
answer is the right one is unknown: one of those seen, or none of them. Given that, the votes have a closed likelihood:
p integrated over its Beta, times the exchangeable partition probability of the wrong votes, times the verifier's ratio
of right over wrong densities for each of the right answer's scores. Some prompts have samples that seldom or never end
with an answer, as where its format is another: `SPEAKING` is the prior of that share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from budgets.difficulty import Array, Beta
from budgets.score_evidence import score_evidence
from budgets.uncertainty import FittedTask
from budgets.wrong_answers import WrongAnswers

Counts = NDArray[np.signedinteger[Any]]
Reach = tuple[float, float]

MOST_EVIDENCE = 512
"""Samples of one prompt that are looked at together, at most."""
SPEAKING: Final = ((0.0, 0.003), (0.02, 0.0005), (0.4, 0.003), (0.8, 0.01), (1.0, 0.9835))
"""Shares of a prompt's samples that may have an answer at all, each with its prior probability. Points, not a Beta: a
prompt is mute or it is not, and a Beta of a few samples' weight would still let one in three speak after 8 silent."""
_NEVER = 1e-9
_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class Evidence:
    """The samples of one prompt so far: `Evidence(())` is none.

    `votes`: the samples of each answer seen, first seen first. `scores`: of each of those samples, by answer, None
    where there is none; () without a verifier. `silent`: samples without an answer.
    """

    votes: tuple[int, ...]
    scores: tuple[tuple[float | None, ...], ...] = ()
    silent: int = 0

    def __post_init__(self) -> None:
        for name, count in (*(("votes", vote) for vote in self.votes), ("silent", self.silent)):
            if not isinstance(count, int) or count < (name == "votes"):
                raise ValueError(
                    f"{name} has {count!r}; give a whole number of {int(name == 'votes')} or more."
                )
        if self.drawn > MOST_EVIDENCE:
            raise ValueError(
                f"votes and silent add up to {self.drawn}; give {MOST_EVIDENCE:,} samples at most."
            )
        if self.scores and [len(scores) for scores in self.scores] != list(self.votes):
            raise ValueError(
                "scores needs one tuple for each answer, with one score, or None, for each of its votes."
            )
        if not all(math.isfinite(score) for scores in self.scores for score in scores if score is not None):
            raise ValueError("scores has one that is not finite; give None for a missing score.")

    @property
    def answered(self) -> int:
        return sum(self.votes)

    @property
    def drawn(self) -> int:
        """All samples: those with an answer and the silent ones."""
        return self.answered + self.silent


@dataclass(frozen=True, slots=True)
class Posterior:
    """`right[j]`: the probability that answer j is right; `none`: that none of those seen is. They add up to 1.

    `difficulty`: the prompt's p as a mixture of Betas with their weights.
    """

    right: tuple[float, ...]
    none: float
    difficulty: tuple[tuple[float, Beta], ...]

    @property
    def mean(self) -> float:
        """The expected p."""
        return math.fsum(weight * beta.mean for weight, beta in self.difficulty)


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the prompt: its `weight`, the Beta of p, the chances that a right and a wrong sample have an answer."""

    weight: float
    beta: Beta
    right_reach: float
    wrong_reach: float


def posterior(fitted: FittedTask, evidence: Evidence) -> Posterior:
    """Exact under the fitted numbers; with scores under the binormal model, or the binned scores that were measured.

    A silent sample has no vote; it may be that the prompt's samples seldom have one (`SPEAKING`), else, where more of
    the right than of the wrong responses end with an answer, it makes the prompt harder. More different answers than
    the task has are taken as next to impossible.
    """
    right, none = which_right(fitted, evidence)
    weights = vote_weights(fitted, evidence.drawn)
    by_votes: dict[int, list[float]] = {}
    for votes, chance in zip((*evidence.votes, 0), (*right, none), strict=True):
        by_votes.setdefault(votes, []).append(chance)
    mixture: dict[Beta, list[float]] = {}
    for votes, chances in by_votes.items():
        for case in weights.cases(votes, evidence.answered - votes, evidence.silent):
            mixture.setdefault(case.beta, []).append(case.weight * math.fsum(chances))
    return Posterior(right, none, tuple((math.fsum(shares), beta) for beta, shares in mixture.items()))


def which_right(fitted: FittedTask, evidence: Evidence) -> tuple[tuple[float, ...], float]:
    """`Posterior.right` and `Posterior.none`."""
    weights = vote_weights(fitted, evidence.drawn)
    counts = np.array([evidence.votes], dtype=int)
    *right, none = map(float, weights.of(counts, answer_ratios(fitted, evidence)[None], evidence.drawn)[0])
    return tuple(right), none


def answer_ratios(fitted: FittedTask, evidence: Evidence) -> Array:
    """The log-likelihood ratios of each answer's scores, added up: (answers,)."""
    if not evidence.scores:
        return np.zeros(len(evidence.votes))
    flat = np.array(list(chain.from_iterable(evidence.scores)), dtype=float)
    owner = np.repeat(np.arange(len(evidence.votes)), evidence.votes)
    return np.asarray(
        np.bincount(owner, score_evidence(fitted.verifier).of(flat), len(evidence.votes)), dtype=float
    )


def vote_weights(fitted: FittedTask, most: int) -> VoteWeights:
    """Those of the task for up to `most` samples; kept, since only a few different ones are asked for."""
    size = -(-max(1, most) // 32) * 32
    return _vote_weights(
        fitted.difficulty.beta, fitted.wrong.wrong, fitted.right_reach, fitted.wrong_reach, size
    )


class VoteWeights:
    """The posterior probabilities of which answer is right, for many counts of votes at once."""

    def __init__(
        self, beta: Beta, wrong: WrongAnswers, right_reach: float, wrong_reach: float, most: int
    ) -> None:
        self._beta, self._reaches = beta, _reaches(right_reach, wrong_reach)
        vote = np.arange(most + 1)
        theta, d = wrong.concentration, wrong.discount
        self._joined = gammaln(vote + theta) - gammaln(1 + theta)
        self._joined[0] = 0.0
        self._repeated = gammaln(np.maximum(vote, 1) - d) - gammaln(1 - d)
        new = np.log(np.maximum(theta + vote[1:-1] * d, _NEVER * theta))
        self._new = np.concatenate([[0.0, 0.0], np.cumsum(new)])

    def of(self, counts: Counts, ratios: Array, drawn: int) -> Array:
        """For `counts` of votes and added score `ratios` by answer, (rows, answers): (rows, answers + 1).

        Of the samples `drawn` in each row those without a vote are silent. The last column is that of none of the
        answers; one with no votes has 0. Each row adds up to 1.
        """
        votes = counts.sum(axis=1, keepdims=True)
        seen = counts > 0
        answers = seen.sum(axis=1, keepdims=True)
        others, silent = votes - counts, drawn - votes
        right = _log_right(self._beta, self._reaches, drawn)
        log = np.empty((len(counts), counts.shape[1] + 1))
        log[:, :-1] = right[silent, counts] - self._joined[others] - self._repeated[counts]
        log[:, :-1] += self._new[np.maximum(answers - 1, 0)] + ratios
        np.putmask(log[:, :-1], ~seen, -np.inf)
        log[:, -1:] = right[silent, 0] - self._joined[votes] + self._new[answers]
        log -= log.max(axis=1, keepdims=True)
        weights = np.exp(log)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def cases(self, right: int, wrong: int, silent: int) -> list[Case]:
        """p and the reach given so many samples of each kind: by how many speak, and how many silent ones were right.

        Their weights add up to 1.
        """
        parts = [
            self._given(math.log(prior), reach, right, wrong, silent)
            for (_, prior), reach in zip(SPEAKING, self._reaches, strict=True)
        ]
        whole = logsumexp(np.concatenate(parts))
        return [
            # One part alone: silent samples tell nothing of p.
            Case(float(weight), self._with(right + i, wrong + len(part) - 1 - i), *reach)
            for part, reach in zip(parts, self._reaches, strict=True)
            for i, weight in enumerate(np.exp(part - whole))
            if weight > _NEVER
        ]

    def _given(self, log_prior: float, reach: Reach, right: int, wrong: int, silent: int) -> Array:
        """Log weights by how many silent samples were right; a single one where these tell nothing of p."""
        lost, reached = _logs(reach)
        seen = log_prior + right * reached[0] + wrong * reached[1]
        if lost[0] == lost[1]:
            return np.array([seen + silent * lost[0]])
        k = np.arange(silent + 1)
        log = math.lgamma(silent + 1) - gammaln(k + 1) - gammaln(silent - k + 1)
        log += k * lost[0] + (silent - k) * lost[1] + _log_beta(self._beta, right + k, wrong + silent - k)
        return np.asarray(seen + log - _log_beta(self._beta, np.array(right), np.array(wrong)))

    def _with(self, right: int, wrong: int) -> Beta:
        return Beta(min(_LARGEST, self._beta.a + right), min(_LARGEST, self._beta.b + wrong))


def _reaches(right_reach: float, wrong_reach: float) -> tuple[Reach, ...]:
    """The chances that a right and a wrong sample have an answer, for each share that speaks; on average the task's."""
    mean = math.fsum(share * prior for share, prior in SPEAKING)
    return tuple(
        (min(1.0, share * right_reach / mean), min(1.0, share * wrong_reach / mean)) for share, _ in SPEAKING
    )


def _logs(reach: Reach) -> tuple[Reach, Reach]:
    """The logarithms of the chances that a right and a wrong sample have no answer, and that they have one."""
    lost, reached = (
        [math.log(max(_NEVER, part)) for part in parts] for parts in ((1 - x for x in reach), reach)
    )
    return (lost[0], lost[1]), (reached[0], reached[1])


def _log_beta(beta: Beta, right: Counts, wrong: Counts) -> Array:
    return np.asarray(
        gammaln(beta.a + right) + gammaln(beta.b + wrong) - gammaln(beta.a + beta.b + right + wrong)
    )


@lru_cache(128)
def _log_right(beta: Beta, reaches: tuple[Reach, ...], drawn: int) -> Array:
    """log E[P(the votes, the silence | p)] but for a constant, by silent samples and right votes: (drawn + 1,) * 2.

    Of c right votes, w wrong ones and s silent ones, the last was right or wrong: E(c, w, s) is that of one silent
    sample less and one right vote more, or one wrong vote more, each by its chance to be lost. For every share that
    speaks on its own, then all by their priors.
    """
    logs = [_logs(reach) for reach in reaches]
    lost, reach = (np.array(side)[:, :, None] for side in zip(*logs, strict=True))
    tables = np.full((len(reaches), drawn + 1, drawn + 1), -np.inf)
    count = np.arange(drawn + 1)
    tables[:, 0] = _log_beta(beta, count, drawn - count)
    for s in range(1, drawn + 1):
        before = tables[:, s - 1, : drawn + 2 - s]
        tables[:, s, : drawn + 1 - s] = np.logaddexp(lost[:, 0] + before[:, 1:], lost[:, 1] + before[:, :-1])
    wrong = np.maximum(drawn - count[:, None] - count, 0)
    tables += count * reach[:, :1] + wrong * reach[:, 1:]
    tables += np.log([prior for _, prior in SPEAKING])[:, None, None]
    table: Array = np.logaddexp.reduce(tables, axis=0)
    table.flags.writeable = False
    return table


@lru_cache(32)
def _vote_weights(
    beta: Beta, wrong: WrongAnswers, right_reach: float, wrong_reach: float, most: int
) -> VoteWeights:
    return VoteWeights(beta, wrong, right_reach, wrong_reach, most)
