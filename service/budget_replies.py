"""What clients get of the routes on budgets, for the API's description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Eflops(BaseModel):
    """FLOP, and bytes read as the FLOP that could be done meanwhile; a term is null where it was not counted."""

    compute: float
    memory: float
    total: float
    prefill_linear: float | None
    prefill_attention: float | None
    linear: float | None
    attention: float | None
    block_search: float | None
    verifier_compute: float | None
    weight_reads: float | None
    kv_reads: float | None
    block_search_reads: float | None
    verifier_memory: float | None


class PlanCost(BaseModel):
    """What a plan costs; null is what cannot be known, and `warnings` say what to give for it."""

    eflops: Eflops
    seconds: float | None
    usd: float | None
    kv_bytes_peak: float
    fits_memory: bool | None
    dominant_term: str | None
    warnings: list[str]


class RecommendedPlan(BaseModel):
    """What to run: `params` are the strategy's own, `samples` the most to draw, `max_tokens` the most of each."""

    model: str
    strategy: Literal["repeated_sampling", "majority", "best_of_n", "best_of_majority"]
    params: dict[str, Any]
    samples: int
    max_tokens: int
    verifier: str | None


class Interval(BaseModel):
    """A prediction with its 90 % interval."""

    value: float
    low: float
    high: float


class PredictedCost(BaseModel):
    """FLOP, USD, seconds and generated tokens; null where it cannot be known."""

    eflops: Interval | None
    usd: Interval | None
    seconds: Interval | None
    tokens: Interval


class Predicted(BaseModel):
    accuracy: Interval
    cost: PredictedCost


class FrontierPlan(Predicted):
    plan: RecommendedPlan


class Recommendation(BaseModel):
    """The plan, what it will buy, others by rising cost and accuracy, and what to know, in plain sentences.

    `axis`: the cost by which plans were compared.
    """

    plan: RecommendedPlan
    predicted: Predicted
    frontier: list[FrontierPlan]
    reasons: list[str]
    warnings: list[str]
    axis: Literal["usd", "eflops", "tokens"]
