"""How wrong samples share out among wrong answers, and the chance that one of these gets in front."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln

from budgets.difficulty import Array

_NOTHING = 1e-10


@dataclass(frozen=True, slots=True)
class WrongAnswers:
    """Wrong samples as a Pitman–Yor process: sample n + 1 repeats an answer that c samples gave with probability
    (c - discount)/(n + concentration), else it gives a new one.

    `discount` from 0 to below 1 with `concentration` above 0: ever new answers, at 0 a Dirichlet process. Below 0:
    a fixed number of answers, concentration/-discount, whose shares are drawn from a symmetric Dirichlet distribution
    of parameter -discount. Shares differ from problem to problem, as the commonest wrong answers of real ones do.
    Source: Pitman, Combinatorial Stochastic Processes (2006), chapter 3.
    """

    concentration: float
    discount: float = 0.0

    def __post_init__(self) -> None:
        if not 1e-6 <= self.concentration <= 1e6:
            raise ValueError(f"concentration is {self.concentration:g}; choose 0.000001 to 1,000,000.")
        if not -1e4 <= self.discount < 1:
            raise ValueError(f"discount is {self.discount:g}; choose -10,000 to below 1.")
        if self.discount < 0 and abs(self.answers - round(self.answers)) > 1e-6 * self.answers:
            raise ValueError(
                "With a discount below 0, concentration/-discount must be a whole number of answers."
            )

    @classmethod
    def of_agreement(cls, agreement: float) -> WrongAnswers:
        """The Dirichlet process in which two wrong samples agree with probability `agreement`, above 0, below 1."""
        if not 0 < agreement < 1:
            raise ValueError(f"agreement is {agreement:g}; choose above 0 and below 1.")
        return cls(1 / agreement - 1)

    @classmethod
    def even(cls, answers: int, evenness: float) -> WrongAnswers:
        """`answers` wrong answers, shares from a symmetric Dirichlet of parameter `evenness`."""
        if answers < 1 or not evenness > 0:
            raise ValueError(f"answers is {answers}, evenness {evenness:g}; choose 1 or more, and above 0.")
        return cls(answers * evenness, -evenness)

    @property
    def agreement(self) -> float:
        """The probability that two wrong samples of a problem give the same answer."""
        return (1 - self.discount) / (1 + self.concentration)

    @property
    def answers(self) -> float:
        """How many wrong answers there are; infinite where `discount` is 0 or more."""
        return math.inf if self.discount >= 0 else self.concentration / -self.discount

    def beaten(
        self, below: Array, most: int = 0, above: Array | None = None, last: Array | None = None
    ) -> Array:
        """P(exactly m answers are above) for W wrong samples and each row g of `below`: (N + 1, most + 1, G).

        `below[g, j-1]` and `above[g, j-1]`: the chances that an answer that j samples gave, j = 1 … N, stays below row
        g's mark or gets above it; where they add up to less than 1 the rest of the probability is left out. Answers'
        marks are independent given their counts. `last`, falling: the W up to which each row is wanted; 0 past that.

        Exact to 1e-9. O(N²·G), times the log of the number of answers where `discount` is below -1.
        """
        over = 1 - below if above is None else above
        wanted = np.full(len(below), below.shape[1]) if last is None else last
        parts = np.ascontiguousarray(below.T)[:, None, :], np.ascontiguousarray(over.T)[:, None, :]
        if self.discount < -1:
            return _merged(round(self.answers), -self.discount, *parts, most, wanted)
        return _recurred(self.concentration, self.discount, *parts, most, wanted)


def _recurred(theta: float, d: float, below: Array, above: Array, most: int, last: Array) -> Array:
    """`beaten` by the generating function of answers' counts, (1 - Σ_j h_j·x^j)^(-θ/d), h_j = d·(1-d)_{j-1}/j!.

    Each h_j is split into its part below and its part above; the coefficients of the power follow one another by
    Miller's recurrence, here in probabilities. Stable for d of -1 or more.
    """
    samples, _, rows = below.shape
    size, whole = np.arange(1, samples + 1), np.arange(samples + 1)
    joins = np.exp(gammaln(size - d) - gammaln(1 - d) - gammaln(size))
    log_all = gammaln(theta + whole) - gammaln(theta) - gammaln(whole + 1)
    found = np.zeros((samples + 1, most + 1, rows))
    found[0, 0] = 1.0
    for n in range(1, samples + 1):
        used = int(np.count_nonzero(last >= n))
        j = size[:n]
        chance = joins[:n] * (theta + (n - j) * d / j) / n * np.exp(log_all[n - j] - log_all[n])
        before = found[n - 1 :: -1, :, :used]
        terms = below[:n, :, :used] * before
        if most:
            terms[:, 1:] += above[:n, :, :used] * before[:, :-1]
        found[n, :, :used] = np.tensordot(chance, terms, axes=(0, 0))
        # With finitely many answers rounding would grow from here on: nothing is left but rounding.
        found[n][:, found[n].sum(axis=0) < _NOTHING] = 0.0
    return found


def _merged(answers: int, evenness: float, below: Array, above: Array, most: int, last: Array) -> Array:
    """`beaten` for so many answers, two groups of them at a time: samples fall to each by a beta-binomial."""
    one = np.zeros((len(below) + 1, most + 1, below.shape[2]))
    one[0, 0] = 1.0
    one[1:, :1] = below
    if most:
        one[1:, 1:2] = above
    found: Array = one
    count = 1
    for digit in bin(answers)[3:]:
        found, count = _both(found, found, count * evenness, count * evenness, last), 2 * count
        if digit == "1":
            found, count = _both(found, one, count * evenness, evenness, last), count + 1
    return found


def _both(first: Array, second: Array, a: float, b: float, last: Array) -> Array:
    found = np.zeros_like(first)
    for n in range(len(first)):
        used = int(np.count_nonzero(last >= n))
        share = np.arange(n + 1)
        ways = gammaln(n + 1) - gammaln(share + 1) - gammaln(n - share + 1)
        chance = np.exp(ways + betaln(share + a, n - share + b) - betaln(a, b))
        for ahead in range(first.shape[1]):
            terms = first[: n + 1, ahead, None, :used] * second[n::-1, : first.shape[1] - ahead, :used]
            found[n, ahead:, :used] += np.tensordot(chance, terms, axes=(0, 0))
    return found


@dataclass(frozen=True, slots=True)
class Partitions:
    """How the wrong samples of many problems agreed: all that the likelihood of `WrongAnswers` needs."""

    samples: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[int, int], ...]
    answers: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, problems: Iterable[Sequence[int]]) -> Partitions:
        """From the counts of each problem's wrong answers, such as [5, 2, 1]; a single sample tells nothing."""
        samples, sizes, answers = Counter[int](), Counter[int](), Counter[int]()
        for counts in problems:
            if any(count < 1 for count in counts):
                raise ValueError("An answer's count is below 1; leave out answers that nobody gave.")
            if sum(counts) > 1:
                samples[sum(counts)] += 1
                sizes.update(counts)
                answers[len(counts)] += 1
        return cls(*(tuple(sorted(found.items())) for found in (samples, sizes, answers)))

    @property
    def most_answers(self) -> int:
        return max((answers for answers, _ in self.answers), default=0)

    def log_likelihood(self, concentration: float, discount: float) -> float:
        """The log of the exchangeable partition probability function. Source: Pitman (2006), equation 3.6."""
        theta, d = concentration, discount
        total = 0.0
        for n, times in self.samples:
            total -= times * (math.lgamma(theta + n) - math.lgamma(theta + 1))
        for size, times in self.sizes:
            total += times * (math.lgamma(size - d) - math.lgamma(1 - d))
        for answers, times in self.answers:
            rates = [theta + i * d for i in range(1, answers)]
            if any(rate <= 0 for rate in rates):
                return -math.inf
            total += times * sum(map(math.log, rates))
        return total
