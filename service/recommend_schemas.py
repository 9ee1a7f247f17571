"""What clients may send to POST /v1/budget/recommend."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.budget_schemas import Tokens
from service.schemas import (
    MOST_MESSAGES,
    BudgetRequest,
    ChatMessage,
    Positive,
    StrictBody,
    TaskName,
    read_as,
)

MOST_MODELS = 16
MOST_VERIFIERS = 16
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Names = Annotated[list[str], Field(max_length=MOST_VERIFIERS, fail_fast=True)]


class RecommendRequest(StrictBody):
    """What is to be bought: `budget`, caps in any units, `target_accuracy`, or both.

    `messages` or how many `prompt_tokens` they come to. `model`, or several `models` to choose from; by default all.
    `task`: the profile that predicts. `verifiers` that may be used: by default all that need nothing from the request,
    with an empty list none. `k` answers are returned, right is any of them. `wrong_answer_cost`: in right answers.
    `concurrency`: requests like this one at once. `difficulty`: a hint, 0 the task's easiest, 1 its hardest.
    """

    messages: (
        Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)] | None
    ) = None
    prompt_tokens: Tokens | None = None
    model: str | None = None
    models: Annotated[list[str], Field(min_length=1, max_length=MOST_MODELS, fail_fast=True)] | None = None
    task: TaskName | None = None
    budget: BudgetRequest | None = None
    target_accuracy: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    verifiers: Names | None = None
    k: Annotated[int, Field(ge=1, le=128)] | None = None
    wrong_answer_cost: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    concurrency: Positive | None = None
    difficulty: Share | None = None


def read_recommend(body: bytes) -> RecommendRequest:
    """The request in `body`, or ApiError 400."""
    return read_as(RecommendRequest, body)


def recommend_example() -> dict[str, Any]:
    """A wish that any service answers."""
    return {"prompt_tokens": 200, "budget": {"samples": 16}, "verifiers": []}
