"""What samples buy: estimates from one problem's samples, and coverage of a task's problems."""

from __future__ import annotations

from math import comb, expm1, fsum, lgamma, log1p


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


def beta_coverage(a: float, b: float, samples: int) -> float:
    """Probability that at least one of `samples` is right where p ~ Beta(a, b): 1 − B(a, b+N)/B(a, b).

    a and b above 0, samples 0 or more, else ValueError. To 1e-12. Source: 2510.05197.
    """
    if not (a > 0 and b > 0 and samples >= 0):
        raise ValueError(
            f"a is {a:g}, b {b:g}, samples {samples}; a and b must be above 0, samples 0 or more."
        )
    # B(a, b+N)/B(a, b) is Π (b+i)/(a+b+i) for i < N, which keeps its digits where log-gammas cancel.
    if samples <= 100_000:
        return -expm1(fsum(log1p(-a / (a + b + i)) for i in range(samples)))
    return -expm1(lgamma(b + samples) - lgamma(b) - lgamma(a + b + samples) + lgamma(a + b))
