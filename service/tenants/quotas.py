"""Tenants' quotas across replicas: what a request may spend is held before it runs, and charged after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote

import msgspec

from service.errors import ApiError
from service.store.client import Store
from service.tenants.scripts import KEPT_DAYS, RENEW, RESERVE, SETTLE, USAGE
from service.tenants.tenant import Tenant

NANO: Final = 1_000_000_000
"""Amounts in USD are kept as whole billionths."""
MOST: Final = 10**15
"""Of any amount: what Lua's numbers still hold exactly, added up; a million dollars."""
WAIT_SECONDS: Final = 1
"""What a client is told to wait for other requests of its tenant: nobody knows when they end."""
EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks to spend, and the least that is of use to it; USD in billionths. `by`: model, strategy."""

    by: tuple[str, str]
    tokens: int
    least_tokens: int
    nano: int = 0
    least_nano: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What a request may spend, over all its attempts; `turn` counts them."""

    tokens: int
    nano: int
    turn: int


class Settlement(msgspec.Struct, frozen=True, array_like=True):
    """What a request has spent, over all its attempts up to this `turn`."""

    tenant: str
    id: str
    turn: int
    tokens: int
    nano: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent on a UTC day, and what running requests hold of it; `by` model and strategy."""

    day: date
    spent: dict[str, int]
    by: dict[tuple[str, str], dict[str, int]]
    held_tokens: int
    held_nano: int


class Quotas:
    """The account of every tenant, in the store alone. All methods raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reserve(self, tenant: Tenant, id: str, wanted: Wanted, *, job: bool = False) -> Held:
        """Hold what a request may spend: what it wants, or what the day's quotas leave of it.

        Raises ApiError 429 where a limit of the tenant's leaves no room. A job's next attempt takes the place of the
        one before; jobs are not held to requests per second and at once.
        """
        rate = tenant.requests_per_second
        gap = 1000 / rate if rate else 0
        answer, *given = await self._run(
            RESERVE,
            tenant.name,
            id,
            ":".join(quote(part, safe="") for part in wanted.by),
            int(job),
            *(wanted.tokens, wanted.least_tokens, _limit(tenant.tokens_per_day)),
            *(
                wanted.nano,
                wanted.least_nano,
                _limit(None if tenant.usd_per_day is None else nano(tenant.usd_per_day)),
            ),
            *(gap, gap * (burst(rate) - 1) if rate else 0, _limit(tenant.requests_at_once)),
        )
        if answer != b"ok":
            _refuse(tenant, answer.decode(), given[0])
        return Held(*given)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge requests what they have spent, and free what they held. To settle twice is as once."""
        await self._run(SETTLE, msgspec.json.encode(settlements))

    async def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Renew the leases of requests, each a tenant's name and an id."""
        await self._run(RENEW, msgspec.json.encode(held))

    async def usage(self, name: str, days: int) -> tuple[int, list[Usage]]:
        """How many requests of a tenant hold something now, and its last `days`, today first."""
        running, found = await self._run(USAGE, name, min(days, KEPT_DAYS))
        return running, [_usage(EPOCH + timedelta(day), fields) for day, fields in found]

    async def _run(self, script: Any, *arguments: Any) -> Any:
        async with self._store.exchange() as redis:
            return await script(redis, [self._store.key()], *arguments)


def nano(usd: float) -> int:
    """An amount in billionths, rounded up."""
    return min(MOST, math.ceil(usd * NANO - 1e-6))


def burst(rate: float) -> int:
    """How many requests may come at once: a second's worth."""
    return max(1, math.floor(rate))


def seconds_to_midnight() -> int:
    """Until the quotas of the next UTC day, by this machine's clock."""
    now = datetime.now(UTC)
    return math.ceil(86_400 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds())


def _limit(most: int | None) -> int:
    return -1 if most is None else most


def _refuse(tenant: Tenant, limit: str, milliseconds: int) -> NoReturn:
    seconds = math.ceil(milliseconds / 1000) or WAIT_SECONDS
    if limit == "rate":
        rate = f"{tenant.requests_per_second:g} requests per second"
        message = f"At most {rate} of this tenant may begin. Send them slower."
        raise ApiError(429, "rate_limited", message, retry_after=seconds)
    if limit == "at_once":
        message = (
            f"At most {tenant.requests_at_once} requests of this tenant may run at once. Wait for one to end."
        )
        raise ApiError(429, "rate_limited", message, retry_after=seconds)
    quota = f"{tenant.tokens_per_day:,} tokens" if limit == "tokens" else f"{tenant.usd_per_day:g} USD"
    if milliseconds:
        why = "What is left does not pay for this request. The next day begins at 00:00 UTC"
    else:
        why = "Requests that run hold what is left of it. Wait for them, or give this one a smaller budget"
    raise ApiError(429, "quota_exceeded", f"This tenant may spend {quota} a day. {why}.", retry_after=seconds)


def _usage(day: date, fields: Sequence[bytes]) -> Usage:
    spent: dict[str, int] = {}
    by: dict[tuple[str, str], dict[str, int]] = {}
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        what, *parts = field.decode().split(":")
        if parts:
            by.setdefault((unquote(parts[0]), unquote(parts[1])), {})[what] = int(value)
        else:
            spent[what] = int(value)
    return Usage(day, spent, by, spent.pop("held_tokens", 0), spent.pop("held_nano", 0))
