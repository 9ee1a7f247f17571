"""What routes read from a request that the application and its middlewares have put there."""

from __future__ import annotations

from starlette.requests import Request

from service.tenants.tenant import Tenant
from service.world import World


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def tenant_of(request: Request) -> Tenant:
    """Who asks; `ANONYMOUS` where no keys are needed."""
    tenant: Tenant = request.state.tenant
    return tenant


def id_of(request: Request) -> str:
    """The path's `{id}`."""
    return str(request.path_params["id"])
