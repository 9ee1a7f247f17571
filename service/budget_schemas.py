"""What clients may send to the routes on budgets. Every number is bounded, so that no product of them overflows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from budgets.models import ModelShape
from budgets.workload import DENSE, Attention, BlockTopK, TopK
from service.schemas import Positive, StrictBody, read_as

Tokens = Annotated[int, Field(ge=0, le=2**31)]
Parameters = Annotated[float, Field(ge=1, le=1e15, allow_inf_nan=False)]
Bytes = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]
Heads = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(ge=1, le=1e18, allow_inf_nan=False)]


class ShapeRequest(StrictBody):
    """A decoder in numbers.

    `active_params`: those multiplied for one token, by default all. `weight_bytes`, `kv_bytes` of an element: 2 by
    default.
    """

    params: Parameters
    active_params: Parameters | None = None
    num_layers: Annotated[int, Field(ge=1, le=10_000)]
    num_attention_heads: Heads
    num_kv_heads: Heads
    head_dim: Heads
    weight_bytes: Bytes | None = None
    kv_bytes: Bytes | None = None

    @field_validator("active_params")
    @classmethod
    def _active(cls, active: float | None, info: ValidationInfo) -> float | None:
        most = info.data.get("params")
        if active is not None and most is not None and active > most:
            raise ValueError(f"Input should be at most params, which are {most:g}")
        return active

    @field_validator("num_kv_heads")
    @classmethod
    def _divisor(cls, kv_heads: int, info: ValidationInfo) -> int:
        heads = info.data.get("num_attention_heads")
        if heads is not None and heads % kv_heads:
            raise ValueError(f"Input should divide num_attention_heads, which are {heads}")
        return kv_heads

    def shape(self) -> ModelShape:
        return ModelShape(**{"active_params": self.params} | self.model_dump(exclude_none=True))


class HardwareRequest(StrictBody):
    """One accelerator, or several taken together: FLOP/s, bytes/s, bytes."""

    flops: Rate
    bytes_per_second: Rate
    memory_bytes: Rate


class DenseRequest(StrictBody):
    kind: Literal["dense"]

    def attention(self) -> Attention:
        return DENSE


class TopKRequest(StrictBody):
    """A generated token attends to the `budget` positions that matter most."""

    kind: Literal["topk"]
    budget: Positive

    def attention(self) -> Attention:
        return TopK(self.budget)


class BlockTopKRequest(StrictBody):
    """A generated token attends to the last `local` positions and to `topk` blocks of `block_size`."""

    kind: Literal["block_topk"]
    local: Tokens
    block_size: Positive
    topk: Tokens

    @field_validator("topk")
    @classmethod
    def _something(cls, topk: int, info: ValidationInfo) -> int:
        if not topk and info.data.get("local") == 0:
            raise ValueError("Input should be greater than 0 where local is 0")
        return topk

    def attention(self) -> Attention:
        return BlockTopK(self.local, self.block_size, self.topk)


def _kind(value: Any) -> str | None:
    """The alternative's name, capitalised so that no error takes it for a field."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind.upper() if kind in ("dense", "topk", "block_topk") else None


AttentionRequest = Annotated[
    Annotated[DenseRequest, Tag("DENSE")]
    | Annotated[TopKRequest, Tag("TOPK")]
    | Annotated[BlockTopKRequest, Tag("BLOCK_TOPK")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message="Input should be an object whose kind is 'dense', 'topk' or 'block_topk'",
    ),
]


class CostVerifierRequest(StrictBody):
    """A verifier that is a model: one call for each sample, on hardware of its own of the same kind.

    A call reads `prompt_tokens`, by default the prompt and the response, and generates `output_tokens`, by default
    none.
    """

    model: str | None = None
    shape: ShapeRequest | None = None
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class CostRequest(StrictBody):
    """A plan to price: `model` or `shape`, what it runs on, and how much it generates.

    `hardware`: a name, or numbers; by default what the configuration says of `model`. `arithmetic_intensity`, in FLOP
    per byte, in its stead. `output_tokens` of each sample. `share_prompt`: true by default. `concurrency`: requests
    like this one that run at once. `published`: `eflops` by the terms and the arithmetic of the Kinetics code alone.
    """

    model: str | None = None
    shape: ShapeRequest | None = None
    hardware: str | HardwareRequest | None = None
    arithmetic_intensity: Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)] | None = None
    prompt_tokens: Tokens
    output_tokens: Tokens
    samples: Positive | None = None
    attention: AttentionRequest | None = None
    share_prompt: bool | None = None
    published: bool | None = None
    verifier: CostVerifierRequest | None = None
    concurrency: Positive | None = None


def read_cost(body: bytes) -> CostRequest:
    """The plan in `body`, or ApiError 400."""
    return read_as(CostRequest, body)


def cost_example() -> dict[str, Any]:
    """A plan that any service prices."""
    shape = {
        "params": 8.19e9,
        "active_params": 7.57e9,
        "num_layers": 36,
        "num_attention_heads": 32,
        "num_kv_heads": 8,
        "head_dim": 128,
    }
    return {
        "shape": shape,
        "hardware": "h100-sxm",
        "prompt_tokens": 512,
        "output_tokens": 4096,
        "samples": 16,
        "concurrency": 2,
    }
