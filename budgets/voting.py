"""The chance that the right answer wins a vote, by how many samples gave it and how many gave wrong ones.

A table `wins[R, W]` is the probability that the right answer is among the first k, given R right and W wrong samples;
0 where R is 0, and where R + W is more than the table is for. Every answer has a mark (its votes, its added or its mean
reward), ties are broken at random, which is what first-seen does; wrong answers fall out as `WrongAnswers` says, and
their scores are independent given that they are wrong. Where more than 4 answers are returned, how many wrong ones are
ahead is approximated, as `_hardly_beaten` says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

from budgets.difficulty import Array
from budgets.verifier_quality import VerifierQuality
from budgets.wrong_answers import WrongAnswers

Counts = NDArray[np.signedinteger[Any]]

MOST_VOTES = 256
"""Samples up to which votes are counted exactly; more are predicted as if they were so many."""
EXACT_ANSWERS = 4
"""Answers up to which those ahead are counted exactly: work and memory grow by as many times, work later by more."""
_LEAST_LOG = -1e4


@lru_cache(256)
def majority_wins(wrong: WrongAnswers, most: int, k: int) -> Array:
    """The most frequent answer first. `most`: the largest R and W. Exact but for ties of six answers and more."""
    place, weight = np.polynomial.legendre.leggauss(3)
    place, weight = (place + 1) / 2, weight / 2
    votes = np.repeat(np.arange(1, most + 1), len(place))[:, None]
    other = np.arange(1, most + 1)
    below = (other < votes) + (other == votes) * np.tile(place, most)[:, None]
    return _wins(wrong, below, weight, k)


@lru_cache(128)
def weighted_wins(wrong: WrongAnswers, verifier: VerifierQuality, most: int, k: int) -> Array:
    """The answer with the highest added reward first, rewards in [0, 1]. To about 0.002."""
    sums = _Sums(verifier, most)
    other = np.arange(1, most + 1)
    below = sums.wrong_below(other[None, :], sums.marks.ravel()[:, None])
    return _wins(wrong, below, sums.weight, k)


@lru_cache(512)
def frequent_wins(wrong: WrongAnswers, verifier: VerifierQuality, most: int, least: int, k: int) -> Array:
    """Among answers with `least` votes or more, the highest mean reward first; where none has as many, among the
    most frequent ones. To about 0.002."""
    sums = _Sums(verifier, most)
    own = np.arange(1, most + 1)[:, None, None]
    other = np.arange(1, most + 1)
    needed = np.minimum(own, least)
    at_mean = sums.wrong_below(other, sums.marks[:, :, None] * other / own)
    below = np.where(other < needed, 1.0, at_mean)
    # An answer that is neither frequent nor among the most frequent is out, whatever k is.
    out = (own < least) & (other > own)
    below, above = np.where(out, 0.0, below), np.where(out, 0.0, 1 - below)
    return _wins(wrong, below.reshape(-1, most), sums.weight, k, above.reshape(-1, most))


def _wins(wrong: WrongAnswers, below: Array, weight: Array, k: int, above: Array | None = None) -> Array:
    """The table from the marks of the right answer, `len(weight)` rows of `below` for each R."""
    most = below.shape[1]
    last = most - np.repeat(np.arange(1.0, most + 1), len(weight))
    if k <= EXACT_ANSWERS:
        ahead = wrong.beaten(below, k - 1, above, last).sum(axis=1)
    else:
        ahead = _hardly_beaten(wrong, below, 1 - below if above is None else above, k, last)
    table = np.zeros((most + 1, most + 1))
    table[1:] = np.tensordot(ahead.reshape(most + 1, most, len(weight)), weight, axes=(2, 0)).T
    table.flags.writeable = False
    return table


def _hardly_beaten(wrong: WrongAnswers, below: Array, above: Array, k: int, last: Array) -> Array:
    """P(fewer than k wrong answers are above) by W and row, as `WrongAnswers.beaten` has them: (most + 1, rows).

    The number above is taken for binomial: its mean is exact, and it is at most W over the fewest samples with which an
    answer gets there, so that k that cannot be beaten are not. Within 0.05 of the exact wins of a vote at any p, and
    closer as k grows; O(N²·G), whatever k is.
    """
    most, rows = below.shape[1], len(below)
    mean = _expected_counts(wrong, most) @ above.T
    fewest = np.where(above.any(axis=1), np.argmax(above > 0, axis=1) + 1, most + 1)
    whole = np.arange(most + 1)[:, None]
    bound = np.minimum(whole // fewest, wrong.answers)
    found = np.broadcast_to(whole <= last, (most + 1, rows)).astype(float)
    close = (bound >= k) & (whole <= last)
    trials = bound[close]
    found[close] = 1 - betainc(k, trials - k + 1, np.minimum(1.0, mean[close] / trials))
    if np.any(below + above < 1 - 1e-12):  # some answers may not be there at all
        found *= wrong.beaten(np.minimum(1.0, below + above), 0, None, last)[:, 0]
    return found


def _expected_counts(wrong: WrongAnswers, most: int) -> Array:
    """How many wrong answers j of W wrong samples give, in the mean: (W = 0 … most, j = 1 … most).

    Source: Pitman, Combinatorial Stochastic Processes (2006), chapter 3.
    """
    theta, d = wrong.concentration, wrong.discount
    total, size = np.arange(1, most + 1)[:, None], np.arange(1, most + 1)
    rest = np.maximum(0, total - size)
    other = max(1e-9, theta + d)
    ways = gammaln(total + 1) - gammaln(size + 1) - gammaln(rest + 1)
    joined = gammaln(size - d) - gammaln(1 - d) + gammaln(other + rest) - gammaln(other)
    log = ways + joined - (gammaln(theta + total) - gammaln(theta + 1))
    found = np.zeros((most + 1, most))
    found[1:] = np.where(size <= total, np.exp(log), 0.0)
    return found


class _Sums:
    """Sums of 1 … `most` scores of right and of wrong responses, scores in [0, 1] read to 1/64 (1/16 for many)."""

    def __init__(self, verifier: VerifierQuality, most: int) -> None:
        self._cells = 64 if most <= 64 else 16
        nodes, weight = np.polynomial.legendre.leggauss(16 if most <= 64 else 8)
        self.weight = weight / 2
        right, wrong = (self._sums(mass, most) for mass in verifier.rounded(self._cells))
        self._wrong = wrong
        # marks[R-1, q]: the q-th of some quantiles of the sum of R right scores
        self.marks = np.array(
            [np.interp((nodes + 1) / 2, upto, (np.arange(len(upto)) - 0.5) / self._cells) for upto in right]
        )

    def _sums(self, mass: Array, most: int) -> Array:
        """The distribution functions of the sums half a cell below and above each multiple of 1/cells."""
        size = 1 << (most * self._cells + 1).bit_length()
        one = np.fft.rfft(mass, size)
        powers = one[None, :] ** np.arange(1, most + 1)[:, None]
        upto = np.cumsum(np.fft.irfft(powers, size, axis=1), axis=1)
        return np.concatenate([np.zeros((most, 1)), np.clip(upto, 0.0, 1.0)], axis=1)

    def wrong_below(self, counts: Counts, mark: Array) -> Array:
        """P(the sum of `counts` wrong scores is below `mark`), the two broadcast against each other."""
        at = mark * self._cells + 0.5
        at = np.clip(at, 0.0, self._wrong.shape[1] - 1.001)
        left = at.astype(int)
        low, high = self._wrong[counts - 1, left], self._wrong[counts - 1, left + 1]
        return np.asarray(low + (at - left) * (high - low))


def average_wins(wins: Array, right: Array, wrong: Array, samples: int) -> Array:
    """E[wins[R, W]] where each of `samples` is right, wrong, or without an answer; for each node, (P,).

    `right` and `wrong` are the chances, (P,). Exact where all have an answer or up to 32 samples; else at the mean
    number of answers, to about 0.001.
    """
    answered = np.clip(right + wrong, 0.0, 1.0)
    share = np.clip(np.divide(right, answered, out=np.zeros_like(right), where=answered > 0), 0.0, 1.0)
    if np.all(answered > 1 - 1e-12):
        return _of_votes(wins, share, samples)
    if samples <= 32:
        table = np.array([_of_votes(wins, share, votes) for votes in range(samples + 1)])
        return np.asarray((binomial(samples, answered) * table.T).sum(axis=1))
    mean = samples * answered
    low = np.minimum(mean.astype(int), samples - 1)
    found = np.empty_like(share)
    for votes in set(low.tolist()):
        at = low == votes
        lower, upper = (_of_votes(wins, share[at], count) for count in (votes, votes + 1))
        found[at] = lower + (mean[at] - votes) * (upper - lower)
    return found


def _of_votes(wins: Array, share: Array, votes: int) -> Array:
    count = np.arange(votes + 1)
    return np.asarray(binomial(votes, share) @ wins[count, votes - count])


def binomial(samples: int, chance: Array) -> Array:
    """P(R = 0 … samples) for each chance: (P, samples + 1)."""
    count = np.arange(samples + 1)
    ways = gammaln(samples + 1) - gammaln(count + 1) - gammaln(samples - count + 1)
    with np.errstate(divide="ignore"):  # 0 times a finite log is 0
        log_p, log_q = (np.maximum(_LEAST_LOG, log) for log in (np.log(chance), np.log1p(-chance)))
    return np.asarray(np.exp(ways + np.outer(log_p, count) + np.outer(log_q, samples - count)))
