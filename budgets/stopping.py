"""When more samples stop paying: saturation, the lead a vote needs, a judge's temperature, a verifier's price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from budgets.prediction import Options, Strategy, Task, expected_accuracy


def saturation_point(ceiling: float, p: float, least_gain: float) -> int:
    """The first sample N ≥ 1 whose gain, ceiling·p·(1-p)^(N-1), is below `least_gain`; N - 1 samples are worth taking.

    `ceiling` and p from 0 to 1, `least_gain` above 0. Source: TTSPM 2505.20522, where F(N) = F_max·(1 - (1-p)^N).
    """
    if not (0 <= ceiling <= 1 and 0 <= p <= 1 and least_gain > 0):
        raise ValueError("ceiling and p must be 0 to 1, and least_gain above 0.")

    def gain(sample: int) -> float:
        return ceiling * p * (1 - p) ** (sample - 1)

    if gain(1) < least_gain:
        return 1
    if p == 1:
        return 2
    sample = max(1, math.floor(math.log(least_gain / (ceiling * p)) / math.log1p(-p)))
    while gain(sample) >= least_gain:
        sample += 1
    while sample > 1 and gain(sample - 1) < least_gain:
        sample -= 1
    return sample


@dataclass(frozen=True, slots=True)
class LeadVote:
    """A vote between two answers that ends when one leads by k: the chance that the right one wins, and its length."""

    accuracy: float
    expected_draws: float


def lead_vote(p: float, k: int) -> LeadVote:
    """First to lead by k, where a vote is right with probability p: p^k/(p^k + (1-p)^k) and k·(2·that - 1)/(2p - 1).

    p from 0 to 1, k 1 or more. Source: MAKER 2511.09030 (the gambler's ruin).
    """
    if not (0 <= p <= 1 and k >= 1):
        raise ValueError(f"p is {p:g}, k is {k}; choose p from 0 to 1 and k of 1 or more.")
    if p in (0, 1):
        return LeadVote(float(p), float(k))
    log_odds = k * (math.log(p) - math.log1p(-p))
    accuracy = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
    if p == 0.5:
        return LeadVote(accuracy, float(k * k))
    return LeadVote(accuracy, k * math.tanh(log_odds / 2) / (2 * p - 1))


def lead_needed(p: float, target: float, steps: int = 1) -> int:
    """The smallest k ≥ 1 at which all of `steps` votes come out right with probability `target` or more.

    p above 0.5 (below, no lead suffices), up to 1; `target` from 0 to below 1. Source: MAKER 2511.09030.
    """
    if not (0.5 < p <= 1 and 0 <= target < 1 and steps >= 1):
        raise ValueError("p must be above 0.5 and at most 1, target 0 to below 1, and steps 1 or more.")
    if target == 0 or p == 1:
        return 1
    log_odds = math.log(p) - math.log1p(-p)
    needed = -math.log(math.expm1(-math.log(target) / steps)) / log_odds

    def suffices(k: int) -> bool:
        return -steps * math.log1p(math.exp(-k * log_odds)) >= math.log(target)

    k = max(1, math.floor(needed))
    while not suffices(k):
        k += 1
    while k > 1 and suffices(k - 1):
        k -= 1
    return k


def best_temperature(task: Task, samples: int, options: Options | None = None) -> float:
    """The temperature of best_of_n's softmax at which `samples` samples are most accurate, to 2 %, 0.001 to 1,000.

    0.001 is argmax. Where wrong responses' scores vary more than right ones', a judge that is fooled now and then, it
    lies higher. Source: 2512.19905, section 2, carried over from its linear model to the
    verifier's two score distributions; searched for, as there is no closed form at a finite N.
    """
    base = options or Options()

    def accuracy(log_t: float) -> float:
        soft = replace(base, select="softmax", temperature=math.exp(log_t))
        return float(expected_accuracy("best_of_n", task, [samples], soft)[0])

    low, high = math.log(1e-3), math.log(1e3)
    places = [low + i * (high - low) / 28 for i in range(29)]
    found = [accuracy(place) for place in places]
    best = found.index(max(found))
    if best == 0 or found[best] - found[0] < 1e-9:
        return 1e-3
    left, right = places[best - 1], places[min(best + 1, len(places) - 1)]
    while right - left > 0.02:
        first, second = left + (right - left) / 3, right - (right - left) / 3
        if accuracy(first) < accuracy(second):
            left = first
        else:
            right = second
    return math.exp((left + right) / 2)


@dataclass(frozen=True, slots=True)
class VerifierWorth:
    """At a budget of `samples` samples' cost: the accuracy of voting, and with the verifier, which leaves fewer."""

    samples: int
    verified_samples: int
    without: float
    verified: float

    @property
    def worth_it(self) -> bool:
        return self.verified > self.without


def verifier_worth(
    task: Task,
    budgets: Sequence[int],
    relative_cost: float,
    strategy: Strategy = "best_of_n",
    options: Options | None = None,
) -> list[VerifierWorth]:
    """Verifier-based against verifier-free at equal cost, for budgets given in samples' costs.

    `relative_cost`: what a score costs in units of a sample, 0 or more: a budget B buys B samples for a majority vote,
    or B/(1 + relative_cost) scored ones, 1 at least. Source: the question of 2502.12118, answered by this task's
    numbers rather than by its asymptotic rates.
    """
    if not 0 <= relative_cost < math.inf:
        raise ValueError(f"relative_cost is {relative_cost:g}; choose 0 or more.")
    chosen = options or Options()
    fewer = [max(1, int(budget / (1 + relative_cost))) for budget in budgets]
    without = expected_accuracy("majority", task, budgets, chosen)
    verified = expected_accuracy(strategy, task, fewer, chosen)
    return [
        VerifierWorth(n, m, float(x), float(y))
        for n, m, x, y in zip(budgets, fewer, without, verified, strict=True)
    ]
