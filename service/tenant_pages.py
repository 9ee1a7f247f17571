"""The routes on tenants, keys and usage, for the API's description, and what keys mean for all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from service import reply_schemas as reply
from service import tenant_replies as told
from service.middleware.authenticate import OPEN
from service.tenant_schemas import KeyRequest, TenantRequest
from service.tenants.scripts import KEPT_DAYS

Json = dict[str, Any]
Answer = Callable[[str, type[BaseModel]], Json]
Body = Callable[[type[BaseModel]], Json]

SECURITY: Final[Json] = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, where they are required."}
}
NO_KEY: Final = "The API key is missing, wrong or revoked."
NO_ADMIN: Final = "This needs the admin key, or the service has none."
ERRORS: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    403: NO_ADMIN,
    404: "There is no such tenant, key or model.",
    408: "The body did not arrive in time.",
    409: "The Idempotency-Key came with another request before.",
    413: "The body is too large.",
    422: "There are too many already.",
    503: "The store does not answer; Retry-After says when to try again.",
}
READ: Final = (400, 408, 413)
"""What reading a body may end in."""
OPTIONS: Final[list[Json]] = [
    {
        "name": "days",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": KEPT_DAYS, "default": 1},
    },
    {"name": "tenant", "in": "query", "required": False, "schema": {"type": "string"}},
]


def tenant_paths(answer: Answer, body: Body) -> Json:
    """The paths of these routes, made by what describes an answer and a body."""

    def does(summary: str, model: type[BaseModel], *errors: int, status: str = "200", **more: Any) -> Json:
        responses = {str(error): answer(ERRORS[error], reply.Error) for error in (403, 503, *errors)}
        return {"summary": summary, "responses": {status: answer("OK", model), **responses}, **more}

    name: Json = {"parameters": [_in_path("name")]}
    id: Json = {"parameters": [_in_path("id")]}
    limits: Json = {"requestBody": body(TenantRequest)}
    key: Json = {"requestBody": body(KeyRequest)}
    return {
        "/v1/usage": {
            "get": does(
                "What a tenant has spent, holds and has left.", told.TenantUsage, 400, 404, parameters=OPTIONS
            )
        },
        "/v1/admin/tenants": {"get": does("All tenants.", told.TenantList)},
        "/v1/admin/tenants/{name}": {
            "get": does("A tenant's limits.", told.TenantView, 404, **name),
            "put": does(
                "Create a tenant, or change its limits.", told.TenantView, *READ, 404, 422, **name, **limits
            ),
            "delete": does("Remove a tenant, and revoke its keys.", told.TenantRemoved, 404, **name),
        },
        "/v1/admin/keys": {
            "get": does("All keys, without their secrets.", told.KeyList),
            "post": does(
                "Make a key; it is told here alone.", told.NewKey, *READ, 404, 409, 422, status="201", **key
            ),
        },
        "/v1/admin/keys/{id}": {"delete": does("Revoke a key.", told.KeyRevoked, 404, **id)},
    }


def keyed(paths: Json, answer: Answer) -> Json:
    """The paths, with what happens to requests without a key."""
    for path, operations in paths.items():
        for operation in () if path in OPEN else operations.values():
            operation["responses"] |= {"401": answer(NO_KEY, reply.Error)}
            operation["responses"].setdefault("503", answer(ERRORS[503], reply.Error))
            operation["security"] = [{"key": []}, {}]
    paths["/v1/profiles"]["post"]["responses"]["403"] = answer(NO_ADMIN, reply.Error)
    return paths


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
