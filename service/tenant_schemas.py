"""What the routes on tenants and keys take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.schemas import Positive, StrictBody, read_as
from service.settings import Name
from service.tenants.quotas import MOST, NANO
from service.tenants.tenant import Most, Tenant

Amount = Annotated[int, Field(ge=1, le=MOST)]
Number = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]
Usd = Annotated[float, Field(ge=1 / NANO, le=MOST / NANO, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1e-4, le=1e6, allow_inf_nan=False)]
StrategyName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
TenantName = Annotated[str, Field(min_length=1, max_length=64)]
Note = Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")]


class MostRequest(StrictBody):
    """The largest budget of one request, in each unit."""

    samples: Positive | None = None
    tokens: Positive | None = None
    seconds: Number | None = None
    eflops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    usd: Usd | None = None


class TenantRequest(StrictBody):
    """The limits of a tenant; one that is left out does not hold. Days are UTC days, tokens those generated."""

    requests_per_second: Rate | None = None
    requests_at_once: Positive | None = None
    tokens_per_day: Amount | None = None
    usd_per_day: Usd | None = None
    models: Annotated[list[Name], Field(max_length=1_000, fail_fast=True)] | None = None
    strategies: Annotated[list[StrategyName], Field(max_length=100, fail_fast=True)] | None = None
    most: MostRequest | None = None

    def tenant(self, name: str) -> Tenant:
        """The tenant of that name with these limits."""
        return Tenant(
            name,
            self.requests_per_second,
            self.requests_at_once,
            self.tokens_per_day,
            self.usd_per_day,
            None if self.models is None else tuple(dict.fromkeys(self.models)),
            None if self.strategies is None else tuple(dict.fromkeys(self.strategies)),
            Most(**self.most.model_dump()) if self.most else Most(),
        )


class KeyRequest(StrictBody):
    """A key for the tenant of that name; `note` says what it is for."""

    tenant: TenantName
    note: Note | None = None


def read_tenant(body: bytes) -> TenantRequest:
    """The limits in `body`, or ApiError 400; an empty body says that there are none."""
    return read_as(TenantRequest, body or b"{}")


def read_key(body: bytes) -> KeyRequest:
    """The request in `body`, or ApiError 400."""
    return read_as(KeyRequest, body)


def tenant_example() -> dict[str, Any]:
    """Limits that any service takes."""
    return {
        "requests_per_second": 5,
        "requests_at_once": 16,
        "tokens_per_day": 1_000_000,
        "most": {"samples": 64},
    }
