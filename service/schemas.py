"""What clients may send. Unknown fields are refused by name; nothing is dropped. A null is a field left out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service.body_errors import first_fault, refuse_nul
from service.errors import unreadable
from service.json_objects import crowded, plain_json

MOST_MESSAGES = 10_000
MOST_PARTS = 1_000
MOST_VALUES = 50_000
DEFAULT_TASK = "default"

Body = TypeVar("Body", bound=BaseModel)
Positive = Annotated[int, Field(ge=1, le=2**31)]
TaskName = Annotated[str, Field(min_length=1, max_length=128)]
JsonObject = Annotated[dict[str, Any], AfterValidator(plain_json)]


class StrictBody(BaseModel):
    """A body or a part of one: unknown fields are refused, and no text is read as a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BudgetRequest(StrictBody):
    """Hard caps; any subset. `tokens` are generated tokens."""

    samples: Positive | None = None
    tokens: Positive | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    eflops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class AnswerRequest(StrictBody):
    """When two answers are the same. `pattern`, `group`: `regex`; `schema`: `json`; `exclude`: `tool_call`."""

    format: Literal["auto", "math", "number", "choice", "json", "text", "regex", "tool_call"] | None = None
    pattern: str | None = None
    group: int | str | None = None
    json_schema: Annotated[JsonObject | None, Field(alias="schema")] = None
    exclude: Annotated[list[str], Field(max_length=64, fail_fast=True)] | None = None


class VerifierRequest(StrictBody):
    """A verifier by name, and its options for this request.

    `reference`: `exact`; `model`: `judge`; `tests`, Python, and `entry_point`, the function they test: `unit_tests`.
    """

    name: str
    reference: Annotated[str | None, Field(max_length=100_000)] = None
    model: str | None = None
    tests: Annotated[str | None, Field(max_length=100_000)] = None
    entry_point: Annotated[str | None, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] = None

    @property
    def options(self) -> dict[str, str]:
        """The options that are given, by name."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class ScalingRequest(StrictBody):
    """How much compute to spend on the answer, and how. `task` names the kind of problem, `default` by default."""

    strategy: str | None = None
    budget: BudgetRequest | None = None
    verifier: str | VerifierRequest | None = None
    answer: AnswerRequest | None = None
    params: JsonObject | None = None
    task: TaskName | None = None


class TextPart(StrictBody):
    type: Literal["text"]
    text: str


class FunctionCall(StrictBody):
    name: str
    arguments: str


class MessageToolCall(StrictBody):
    """A call in an earlier answer. `index` is what a client that gathered it from a stream sends back."""

    id: str
    index: Annotated[int | None, Field(exclude=True)] = None
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(StrictBody):
    """A message. What OpenAI's client adds when it sends an answer back is taken where it is empty."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(max_length=MOST_PARTS, fail_fast=True)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[MessageToolCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: Annotated[Literal[""] | None, Field(exclude=True)] = None
    annotations: Annotated[list[Any] | None, Field(max_length=0, exclude=True)] = None
    audio: Annotated[None, Field(exclude=True)] = None
    function_call: Annotated[None, Field(exclude=True)] = None


class Function(StrictBody):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(StrictBody):
    type: Literal["function"]
    function: Function


class NamedFunction(StrictBody):
    name: str


class NamedTool(StrictBody):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(StrictBody):
    name: str | None = None
    description: str | None = None
    json_schema: Annotated[JsonObject, Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(StrictBody):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(StrictBody):
    include_usage: bool | None = None


class ChatRequest(StrictBody):
    """OpenAI's chat completion request, and `scaling`. `n` is how many answers to return."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    scaling: ScalingRequest | None = None
    reasoning_effort: str | None = None
    n: Annotated[int, Field(ge=1, le=10_000)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: (
        Annotated[
            dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=10_000, fail_fast=True)
        ]
        | None
    ) = None
    logprobs: Literal[False] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | Annotated[list[str], Field(max_length=16, fail_fast=True)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    thinking_token_budget: Annotated[int, Field(ge=0, le=2**31)] | None = None
    chat_template_kwargs: JsonObject | None = None
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    parallel_tool_calls: Literal[True] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    user: Annotated[str, Field(max_length=512)] | None = None

    @property
    def may_call(self) -> bool:
        """Whether an answer may call a tool."""
        return bool(self.tools) and self.tool_choice != "none"


def read_chat(body: bytes) -> ChatRequest:
    """The request in `body`, or ApiError 400."""
    return read_as(ChatRequest, body)


def read_scaling(header: str) -> ScalingRequest:
    """The scaling in the header X-Aliquot-Scaling, its bytes as one character each; or ApiError 400."""
    return read_as(ScalingRequest, header.encode("latin-1"), "X-Aliquot-Scaling")


def read_as(shape: type[Body], text: bytes, within: str = "", *, most: int = MOST_VALUES) -> Body:
    """The body of that shape in `text`, of at most so many values, or ApiError 400; `within` names what holds it."""
    if crowded(text, most):
        message = f"{within or 'The body'} holds more than {most} values. Send fewer."
        raise unreadable(message, within or None, "invalid_value")
    try:
        body = shape.model_validate_json(text)
    except ValidationError as error:
        raise first_fault(error, within) from error
    if b"\\u0000" in text:
        refuse_nul(body.model_dump(exclude_unset=True, by_alias=True), within)
    return body
