"""Who asks: the tenant that a request's key belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ApiError
from service.replies import json_response
from service.tenants.directory import invalid_key
from service.tenants.keys import MOST_CHARACTERS
from service.tenants.tenant import ADMIN, ANONYMOUS, Tenant
from service.tenants.tenants import Tenants

OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
"""Routes that answer everybody, and tell nothing of tenants' prompts."""


class Authenticate:
    """Sets `scope["state"]["tenant"]`: the key's, `ADMIN` for the admin key, `ANONYMOUS` where no key is needed.

    A request whose key opens nothing is answered 401, and goes no further; 503 where the store cannot say.
    """

    def __init__(self, app: ASGIApp, tenants: Tenants) -> None:
        self._app = app
        self._tenants = tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope["state"]["tenant"] = await self._tenant(scope)
        except ApiError as error:
            await json_response(error.body(), error.status, error.headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _tenant(self, scope: Scope) -> Tenant:
        token = _bearer(scope["headers"])
        if token and self._tenants.is_admin(token):
            tenant = ADMIN
        elif not self._tenants.required or scope["path"] in OPEN:
            return ANONYMOUS
        elif token is None:
            raise invalid_key()
        else:
            tenant, scope["state"]["facts"]["key"] = await self._tenants.directory.identify(token)
        scope["state"]["facts"]["tenant"] = tenant.name
        return tenant


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The bearer token of a request; None where there is none, or more than one header, or one of unlikely length."""
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1 or len(given[0]) > MOST_CHARACTERS:
        return None
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
