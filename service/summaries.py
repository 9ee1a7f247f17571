"""What is known of a model on a task, in the form of the API. Imports scipy: call it in a thread."""

from __future__ import annotations

import math
from typing import Any

from scipy.special import ndtr

from budgets.length_fitting import LengthFit
from budgets.profiles import Profile


def summary(model: str, task: str, profile: Profile) -> dict[str, Any]:
    """The profile's numbers with their 90 % intervals."""
    low, high = profile.difficulty.mean_interval
    beta = profile.difficulty.beta
    coverage = profile.coverage
    return {
        "model": model,
        "task": task,
        "source": profile.source,
        "problems": profile.problems,
        "samples": profile.samples,
        "feedback": profile.feedback,
        "max_tokens": profile.cap,
        "accuracy": {"value": beta.mean, "low": low, "high": high},
        "difficulty": {"a": beta.a, "b": beta.b},
        "wrong_agreement": profile.wrong.wrong.agreement,
        "tokens": {"median": _quantile(profile.lengths, 0.5), "p95": _quantile(profile.lengths, 0.95)},
        "verifiers": {
            name: {"auc": {"value": fit.auc, "low": fit.auc_interval[0], "high": fit.auc_interval[1]}}
            for name, fit in sorted(profile.verifiers.items())
        },
        "coverage": coverage and {"a": coverage.a, "b": coverage.b, "error": coverage.error},
    }


def _quantile(fit: LengthFit, share: float) -> float:
    """The length within which `share` of all responses end, right and wrong ones, by bisection of its logarithm."""
    low = min(side.mean - 10 * side.sd for side in (fit.right, fit.wrong))
    high = max(side.mean + 10 * side.sd for side in (fit.right, fit.wrong))
    for _ in range(60):
        middle = (low + high) / 2
        ended = fit.right_share * ndtr((middle - fit.right.mean) / fit.right.sd)
        ended += (1 - fit.right_share) * ndtr((middle - fit.wrong.mean) / fit.wrong.sd)
        low, high = (middle, high) if ended < share else (low, middle)
    return math.exp(min(700.0, high))
