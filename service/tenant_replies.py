"""What clients get from the routes on tenants, keys and usage, for the API's description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class TenantMost(BaseModel):
    samples: int | None
    tokens: int | None
    seconds: float | None
    eflops: float | None
    usd: float | None


class TenantLimits(BaseModel):
    """A tenant's limits; null: none."""

    requests_per_second: float | None
    requests_at_once: int | None
    tokens_per_day: int | None
    usd_per_day: float | None
    models: list[str] | None
    strategies: list[str] | None
    most: TenantMost


class TenantView(TenantLimits):
    object: Literal["tenant"]
    name: str


class TenantList(BaseModel):
    object: Literal["list"]
    data: list[TenantView]


class TenantRemoved(BaseModel):
    object: Literal["tenant"]
    name: str
    deleted: Literal[True]
    revoked: Annotated[int, Field(description="Keys that were revoked with it.")]


class KeyView(BaseModel):
    """A key, without its secret. `created` in seconds since 1970."""

    object: Literal["key"]
    id: str
    tenant: str
    created: int
    note: str


class NewKey(KeyView):
    """A key that was just made; `key` is told here, and nowhere again."""

    key: str


class KeyList(BaseModel):
    object: Literal["list"]
    data: list[KeyView]


class KeyRevoked(BaseModel):
    object: Literal["key"]
    id: str
    deleted: Literal[True]


class UsageSpent(BaseModel):
    """Requests that were let in, generated tokens, prompt tokens, and USD where a price is known."""

    requests: int
    tokens: int
    prompt_tokens: int
    usd: float


class UsageBy(UsageSpent):
    model: str
    strategy: str


class UsageDay(UsageSpent):
    """What was spent on a UTC day, and by model and strategy."""

    day: str
    by: list[UsageBy]


class UsageReserved(BaseModel):
    """What running requests may still spend of today's quota."""

    requests: int
    tokens: int
    usd: float


class UsageLeft(BaseModel):
    """What today's quota leaves, with all that is reserved spent; null: there is none."""

    tokens: int | None
    usd: float | None


class TenantUsage(BaseModel):
    object: Literal["usage"]
    tenant: str
    limits: TenantLimits
    reserved: UsageReserved
    left: UsageLeft
    days: list[UsageDay]
