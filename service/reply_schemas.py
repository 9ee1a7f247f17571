"""What clients get, for the API's description. The replies themselves are built in `service.replies`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Error(BaseModel):
    """OpenAI's error; `param` names the field, and the message the mend."""

    error: ErrorDetail


class Budget(BaseModel):
    samples: int
    tokens: int
    seconds: float
    eflops: float | None
    usd: float | None


class Lost(BaseModel):
    """Calls of a job that were under way when a replica died: what they came to at most, beside what is spent."""

    calls: int
    samples: int
    tokens: int
    eflops: float | None
    usd: float | None


class Spent(BaseModel):
    """`tokens` are all generated tokens, `verifier_tokens` those that verifiers that are models read.

    `lost`: of a job that was taken over; null where nothing was.
    """

    samples: int
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    verifier_tokens: int
    seconds: float
    eflops: float | None
    usd: float | None
    lost: Lost | None


class Answer(BaseModel):
    answer: str
    votes: int
    score: float | None


class Scaling(BaseModel):
    strategy: str
    chosen_by: Literal["request", "effort", "default", "auto"]
    params: dict[str, Any]
    verifier: str | None
    budget: Budget
    spent: Spent
    answers: list[Answer]
    stopped_because: str
    warnings: list[str]
    estimates: dict[str, Any] = {}
    reasons: list[str] = []


class PromptTokensDetails(BaseModel):
    cached_tokens: int


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class AssistantMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] = []


class Choice(BaseModel):
    index: int
    message: AssistantMessage
    logprobs: None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    scaling: Scaling


class Step(BaseModel):
    text: str
    tokens: int
    score: float | None


class Candidate(BaseModel):
    text: str
    answer: str | None
    score: float | None
    votes: int
    tokens: int
    finish_reason: Literal["stop", "length"]
    steps: list[Step]


class ScalingOutcome(BaseModel):
    id: str
    object: Literal["scaling.outcome"]
    model: str
    created: int
    candidates: list[Candidate]
    usage: Usage
    scaling: Scaling
    trace: list[dict[str, Any]]


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    ready: bool
    hardware: str | None
    accelerators: int
    usd_per_hour: float | None


class Models(BaseModel):
    object: Literal["list"]
    data: list[Model]


class Strategy(BaseModel):
    name: str
    verifier: Literal["none", "default", "required"]
    description: str
    params: dict[str, Any]


class Strategies(BaseModel):
    object: Literal["list"]
    data: list[Strategy]


class Verifier(BaseModel):
    name: str
    kind: str
    description: str


class Verifiers(BaseModel):
    object: Literal["list"]
    data: list[Verifier]


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    """`draining`: the service was told to end, and asks nobody whether they answer."""

    status: Literal["ok", "not_ready", "draining"]
    engines: dict[str, bool] | None = None
    store: bool | None = None
