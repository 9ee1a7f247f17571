"""GET /v1/usage: what a tenant has spent, holds and has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import ApiError, unreadable
from service.replies import json_response
from service.routes.admin import limits
from service.tenants.directory import tenant_not_found
from service.tenants.quotas import NANO, Usage, nano
from service.tenants.scripts import KEPT_DAYS
from service.tenants.tenant import ADMIN, ANONYMOUS, NAME, Tenant
from service.world import World

OPTIONS: Final = ("days", "tenant")


async def usage(request: Request) -> Response:
    """The last `days`, today first; of another `tenant` with the admin key."""
    world: World = request.app.state.world
    tenant, days = await _whose(request), _days(request)
    running, found = await world.tenants.quotas.usage(tenant.name, days)
    return json_response(_told(tenant, running, found))


async def _whose(request: Request) -> Tenant:
    asking: Tenant = request.state.tenant
    for option in request.query_params:
        if option not in OPTIONS:
            message = f"{option[:80]!r} is no option. There are {' and '.join(OPTIONS)}."
            raise unreadable(message, option[:80], "unknown_parameter")
    name = request.query_params.get("tenant")
    if asking == ADMIN and name is not None:
        world: World = request.app.state.world
        found = await world.tenants.directory.tenant(name) if NAME.fullmatch(name) else None
        if found is None:
            raise tenant_not_found(name)
        return found
    if asking == ANONYMOUS:
        message = (
            "Usage is counted by key, and this service asks for none. ALIQUOT_AUTH=required makes it ask."
        )
        raise ApiError(403, "auth_off", message)
    if name not in (None, asking.name):
        raise ApiError(403, "admin_only", "The usage of others needs the admin key.", param="tenant")
    return asking


def _days(request: Request) -> int:
    given = request.query_params.get("days", "1")
    if not (given.isascii() and given.isdecimal() and len(given) <= 3 and 1 <= int(given) <= KEPT_DAYS):
        raise unreadable(f"days must be a whole number from 1 to {KEPT_DAYS}.", "days", "invalid_value")
    return int(given)


def _told(tenant: Tenant, running: int, days: list[Usage]) -> dict[str, Any]:
    today = days[0]
    left_tokens = left_usd = None
    if tenant.tokens_per_day is not None:
        left_tokens = max(0, tenant.tokens_per_day - today.spent.get("tokens", 0) - today.held_tokens)
    if tenant.usd_per_day is not None:
        left_usd = max(0, nano(tenant.usd_per_day) - today.spent.get("nano", 0) - today.held_nano) / NANO
    return {
        "object": "usage",
        "tenant": tenant.name,
        "limits": limits(tenant),
        "reserved": {"requests": running, "tokens": today.held_tokens, "usd": today.held_nano / NANO},
        "left": {"tokens": left_tokens, "usd": left_usd},
        "days": [
            {
                "day": day.day.isoformat(),
                **_spent(day.spent),
                "by": [
                    {"model": model, "strategy": strategy, **_spent(spent)}
                    for (model, strategy), spent in sorted(day.by.items())
                ],
            }
            for day in days
        ],
    }


def _spent(amounts: Mapping[str, int]) -> dict[str, Any]:
    whole = {what: amounts.get(what, 0) for what in ("requests", "tokens", "prompt_tokens")}
    return {**whole, "usd": amounts.get("nano", 0) / NANO}


ROUTES = [Route("/v1/usage", usage)]
