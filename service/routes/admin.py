"""/v1/admin: tenants, their limits and their keys, for whoever has the admin key."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import unreadable
from service.logs import logger
from service.replies import json_response
from service.routes.request import world_of
from service.serving import read_body
from service.tenant_schemas import read_key, read_tenant
from service.tenants.administration import check_admin
from service.tenants.directory import Directory, tenant_not_found
from service.tenants.keys import KeyRecord
from service.tenants.tenant import NAME, RESERVED, Tenant
from strategies.registry import registry

NO_STORE = {"Cache-Control": "no-store"}


async def put_tenant(request: Request) -> Response:
    """Create a tenant, or give it other limits, which hold from the next request on."""
    directory, world = _directory(request), world_of(request)
    name = request.path_params["name"]
    if not NAME.fullmatch(name) or name in RESERVED:
        message = (
            "A tenant's name has 1 to 64 letters, digits, dots, underscores and hyphens, begins with a letter or digit "
            f"and is none of {', '.join(RESERVED)}. Choose another."
        )
        raise unreadable(message, "name", "invalid_value")
    tenant = read_tenant(await read_body(request, world.limits)).tenant(name)
    for model in tenant.models or ():
        world.model(model, "models")
    if unknown := [strategy for strategy in tenant.strategies or () if strategy not in registry()]:
        message = f"There is no strategy {unknown[0]}. There are {', '.join(registry())}."
        raise unreadable(message, "strategies", "invalid_value")
    await directory.put(tenant)
    logger().info("tenant_put", tenant=name)
    return json_response(_tenant(tenant))


async def get_tenant(request: Request) -> Response:
    """A tenant's limits."""
    name = request.path_params["name"]
    tenant = await _directory(request).tenant(name)
    if tenant is None:
        raise tenant_not_found(name)
    return json_response(_tenant(tenant))


async def list_tenants(request: Request) -> Response:
    """All tenants, by name."""
    return _list([_tenant(tenant) for tenant in await _directory(request).tenants()])


async def delete_tenant(request: Request) -> Response:
    """Remove a tenant and revoke all its keys; what it has spent today stays counted."""
    name = request.path_params["name"]
    revoked = await _directory(request).remove(name)
    logger().info("tenant_removed", tenant=name, revoked=revoked)
    return json_response({"object": "tenant", "name": name, "deleted": True, "revoked": revoked})


async def create_key(request: Request) -> Response:
    """Make a key; the reply alone tells it."""
    directory = _directory(request)
    asked = read_key(await read_body(request, world_of(request).limits))
    id, key, record = await directory.add_key(asked.tenant, asked.note or "")
    logger().info("key_created", key=id, tenant=record.tenant)
    return json_response({**_key(id, record), "key": key}, 201, NO_STORE)


async def list_keys(request: Request) -> Response:
    """All keys, without their secrets."""
    return _list([_key(id, record) for id, record in await _directory(request).keys()])


async def delete_key(request: Request) -> Response:
    """Revoke a key: it opens nothing from now on."""
    id = request.path_params["id"]
    await _directory(request).revoke(id)
    logger().info("key_revoked", key=id)
    return json_response({"object": "key", "id": id, "deleted": True})


def _directory(request: Request) -> Directory:
    check_admin(request)
    return world_of(request).tenants.directory


def limits(tenant: Tenant) -> dict[str, Any]:
    """A tenant's limits in the form of the API, those that do not hold as null."""
    return {
        name: msgspec.structs.asdict(value) if name == "most" else value
        for name, value in msgspec.structs.asdict(tenant).items()
        if name != "name"
    }


def _tenant(tenant: Tenant) -> dict[str, Any]:
    return {"object": "tenant", "name": tenant.name, **limits(tenant)}


def _key(id: str, record: KeyRecord) -> dict[str, Any]:
    told = {"tenant": record.tenant, "created": record.created, "note": record.note}
    return {"object": "key", "id": id, **told}


def _list(items: list[dict[str, Any]]) -> Response:
    return json_response({"object": "list", "data": items})


ROUTES = [
    Route("/v1/admin/tenants", list_tenants),
    Route("/v1/admin/tenants/{name}", put_tenant, methods=["PUT"]),
    Route("/v1/admin/tenants/{name}", get_tenant),
    Route("/v1/admin/tenants/{name}", delete_tenant, methods=["DELETE"]),
    Route("/v1/admin/keys", create_key, methods=["POST"]),
    Route("/v1/admin/keys", list_keys),
    Route("/v1/admin/keys/{id}", delete_key, methods=["DELETE"]),
]
