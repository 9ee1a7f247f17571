"""What only whoever runs the service may do."""

from __future__ import annotations

from starlette.requests import Request

from service.errors import ApiError
from service.store.client import StoreUnavailable
from service.tenants.directory import invalid_key
from service.tenants.tenant import ADMIN, ANONYMOUS
from service.tenants.tenants import Tenants


async def about_keys(tenants: Tenants) -> str:
    """Where nobody can ask for want of a first key, how to make it; else nothing."""
    try:
        if not tenants.required or not await tenants.directory.empty():
            return ""
    except StoreUnavailable:
        return ""
    if tenants.administrable:
        return "Requests need a key, and there is none yet. With ALIQUOT_ADMIN_KEY `aliquot keys create NAME` makes it."
    return (
        "Requests need a key; there is none, and no admin key to make one with. Set ALIQUOT_ADMIN_KEY to what "
        "`openssl rand -hex 32` prints, start again, and run `aliquot keys create NAME`. Or, where everybody who can "
        "reach this service may use it, set ALIQUOT_AUTH=off."
    )


def check_admin(request: Request) -> None:
    """Raises ApiError unless the request came with the admin key: 403, 401 without any key."""
    tenants: Tenants = request.app.state.world.tenants
    if not tenants.administrable:
        message = "This service has no admin key. Whoever runs it sets ALIQUOT_ADMIN_KEY."
        raise ApiError(403, "admin_disabled", message)
    if request.state.tenant == ANONYMOUS:
        raise invalid_key()
    if request.state.tenant != ADMIN:
        raise ApiError(403, "admin_only", "This needs the admin key: ALIQUOT_ADMIN_KEY of the service.")
