"""A tenant: a name, and the limits on what it may ask for and spend."""

from __future__ import annotations

import re
from typing import Final

import msgspec

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a tenant may be called: safe in keys, logs, labels and paths."""


class Most(msgspec.Struct, frozen=True, omit_defaults=True):
    """The largest budget of one request, in each unit; None leaves it to the service's limits."""

    samples: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    eflops: float | None = None
    usd: float | None = None


class Tenant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who a request is charged to. A limit that is None does not hold; days are UTC days."""

    name: str
    requests_per_second: float | None = None
    requests_at_once: int | None = None
    tokens_per_day: int | None = None
    usd_per_day: float | None = None
    models: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None
    most: Most = Most()


ANONYMOUS: Final = Tenant("anonymous")
"""Everybody, where no keys are asked for."""
ADMIN: Final = Tenant("admin")
"""Whoever has the service's admin key."""
RESERVED: Final = (ANONYMOUS.name, ADMIN.name)
"""Names that no other tenant may have."""
