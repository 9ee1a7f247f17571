"""What clients may send. Unknown fields are refused by name; nothing is dropped."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ApiError, unreadable

Finite = Field(allow_inf_nan=False)
Positive = Annotated[int, Field(ge=1, le=2**31)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BudgetRequest(_Body):
    """Hard caps; any subset. `tokens` are generated tokens."""

    samples: Positive | None = None
    tokens: Positive | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    eflops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class AnswerRequest(_Body):
    """When two answers are the same. `pattern`, `group`: `regex`; `schema`: `json`; `exclude`: `tool_call`."""

    format: Literal["auto", "math", "number", "choice", "json", "text", "regex", "tool_call"] = "auto"
    pattern: str | None = None
    group: int | str | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    exclude: Annotated[list[str], Field(max_length=64)] = []


class VerifierRequest(_Body):
    """A verifier by name with its options for this request: `reference` for `exact`, `model` for `judge`."""

    name: str
    reference: Annotated[str | None, Field(max_length=100_000)] = None
    model: str | None = None


class ScalingRequest(_Body):
    """How much compute to spend on the answer, and how."""

    strategy: str | None = None
    budget: BudgetRequest | None = None
    verifier: str | VerifierRequest | None = None
    answer: AnswerRequest | None = None
    params: dict[str, Any] = {}


class TextPart(_Body):
    type: Literal["text"]
    text: str


class FunctionCall(_Body):
    name: str
    arguments: str


class MessageToolCall(_Body):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(_Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(_Body):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Body):
    type: Literal["function"]
    function: Function


class NamedFunction(_Body):
    name: str


class NamedTool(_Body):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(_Body):
    name: str = "answer"
    description: str | None = None
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(_Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Body):
    include_usage: bool = False


class ChatRequest(_Body):
    """OpenAI's chat completion request, and `scaling`. `n` is how many answers to return."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    scaling: ScalingRequest | None = None
    reasoning_effort: str | None = None
    n: Annotated[int, Field(ge=1, le=10_000)] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    thinking_token_budget: Annotated[int, Field(ge=0, le=2**31)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    user: Annotated[str, Field(max_length=512)] | None = None


def read_chat(body: bytes) -> ChatRequest:
    """The request in `body`, or ApiError 400."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _first(error) from error


def read_scaling(header: str) -> ScalingRequest:
    """The scaling in the header X-Aliquot-Scaling, or ApiError 400."""
    try:
        return ScalingRequest.model_validate_json(header)
    except ValidationError as error:
        raise _first(error, within="X-Aliquot-Scaling") from error


def _first(error: ValidationError, within: str = "") -> ApiError:
    """The first thing that is wrong, as a sentence; of a union, of the alternative whose type was met."""
    problem = min(
        error.errors(include_url=False, include_context=False),
        key=lambda e: (e["type"].endswith("_type"), len(e["loc"])),
    )
    if problem["type"] == "json_invalid":
        what = f"{within or 'The body'} is not valid JSON: {problem['msg'].removeprefix('Invalid JSON: ')}."
        return unreadable(what, within or None, "invalid_json")
    param = ".".join(filter(None, (within, *(str(part) for part in problem["loc"] if _is_field(part)))))
    if problem["type"] == "extra_forbidden":
        return unreadable(f"{param} is not a parameter of Aliquot. Leave it out.", param, "unknown_parameter")
    if problem["type"] == "missing":
        return unreadable(f"{param} is missing. Add it.", param, "missing_parameter")
    given = "" if problem["type"] == "model_type" else f", not {str(problem['input'])[:80]!r}"
    return unreadable(f"{param or 'The body'}: {problem['msg']}{given}.", param or None, "invalid_value")


def _is_field(part: int | str) -> bool:
    """Whether a part of an error's path is a field or an index, and no name of a union's alternative."""
    return isinstance(part, int) or (
        part.replace("_", "").isalnum() and part.lower() == part and part not in _TYPES
    )


_TYPES = frozenset({"str", "int", "float", "bool", "constrained-str"})
