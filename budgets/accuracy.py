"""What samples buy: unbiased estimates from the samples of one problem."""

from __future__ import annotations

from math import comb


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that at least one of k samples is right, estimated from `correct` of `samples` without bias.

    1 − C(n−c, k)/C(n, k), in exact integers; needs 1 ≤ k ≤ n and 0 ≤ c ≤ n, else ValueError.
    Source: Chen et al. 2107.03374, equation 1; coverage in Large Language Monkeys 2407.21787.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"pass@{k} is not defined for {correct} of {samples} samples")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def pass_until(successes: int, draws: int) -> float | None:
    """Pass rate estimated from the number of draws up to and including the r-th success: (r−1)/(K−1).

    Unbiased for r ≥ 2; None where it is undefined (K = 1). Needs 1 ≤ r ≤ K, else ValueError.
    Source: PassUntil 2310.03262 (inverse binomial sampling, Haldane 1945).
    """
    if not 1 <= successes <= draws:
        raise ValueError(f"{successes} successes in {draws} draws is no end of an inverse sampling")
    return (successes - 1) / (draws - 1) if draws > 1 else None
