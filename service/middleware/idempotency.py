"""A POST that is sent again with its Idempotency-Key gets the reply of the first time, from whichever replica."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ApiError, unreadable
from service.idempotency import Claim, Head, Idempotency, Reply
from service.middleware.access import CLIENT_LEFT
from service.replies import json_response
from service.serving import read_body, unless_left
from service.settings import Limits

NAME: Final = "Idempotency-Key"
SECRETS: Final = "/v1/admin/"
"""Replies below hold keys that are shown once, and are kept nowhere."""
PASSING: Final = (408, 409, 429, CLIENT_LEFT)
"""What another try may end otherwise than with; so may what ends with 5xx."""
FAILED: Final = b'data: {"error":'
"""How the event begins with which a stream says that it failed."""
ASKING: Final = b"x-aliquot-"
"""How the names of the headers begin that say what is asked."""
LARGE: Final = 2**20
PIECE: Final = 2**16

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Idempotent:
    """Runs each keyed POST under /v1 once. Stands behind what sets `scope["state"]["tenant"]`, and before the routes.

    `limits_of` says what a body may be at a path; `replayed` is called for each reply that is sent again.
    """

    def __init__(
        self,
        app: ASGIApp,
        idempotency: Idempotency,
        limits_of: Callable[[str], Limits],
        replayed: Callable[[], None],
    ) -> None:
        self._app = app
        self._idempotency = idempotency
        self._limits_of = limits_of
        self._replayed = replayed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist(NAME)
        if not given:
            await self._app(scope, receive, send)
            return
        # For the log and the metrics, where no route is reached.
        scope["route"] = next((r for r in scope["app"].routes if r.matches(scope)[0] is Match.FULL), None)
        limits = self._limits_of(scope["path"])
        try:
            key = _key(given, scope["path"])
            received = _Received(await read_body(Request(scope, receive), limits), receive)
            fingerprint, size = await received.fingerprint(scope), received.size
            tenant = scope["state"]["tenant"].name
            found = await unless_left(receive, self._idempotency.claim(tenant, key, fingerprint, size))
        except ClientDisconnect:
            await Response(status_code=CLIENT_LEFT)(scope, receive, send)
        except ApiError as error:
            await json_response(error.body(), error.status, error.headers)(scope, receive, send)
        else:
            if isinstance(found, Reply):
                await self._again(found, scope, receive, send)
            else:
                await self._run(found, limits.idempotent_bytes, scope, received, send)

    async def _again(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._idempotency.sending(reply):
                self._replayed()
                await _replay(reply, scope, send)
        except ApiError as error:
            await json_response(error.body(), error.status, error.headers)(scope, receive, send)

    async def _run(self, claim: Claim, most: int, scope: Scope, receive: Receive, send: Send) -> None:
        recording = _Recording(most)
        kept = False

        async def note(message: Message) -> None:
            nonlocal kept
            reply = recording.add(message)
            if reply is not None:  # before the client has the end, so that it never asks too early
                kept = await claim.keep(reply)
            await send(message)

        try:
            async with claim.held():
                await self._app(scope, receive, note)
        finally:
            if not kept:
                await claim.release()


class _Received:
    """A body that has been read, handed over once and not held any longer, and what the client does after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.size = len(body)
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def fingerprint(self, scope: Scope) -> str:
        """A digest of all that says what is asked."""
        asking = (part for field in sorted(scope["headers"]) if field[0].startswith(ASKING) for part in field)
        parts = (scope["path"].encode(), scope["query_string"], self._body or b"", *asking)
        return await asyncio.to_thread(_digest, parts) if self.size > LARGE else _digest(parts)


class _Recording:
    """What a reply is made of, as far as it may be kept: at most `most` bytes of body."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._head: Head | None = None
        self._body = bytearray()

    def add(self, message: Message) -> Reply | None:
        """The reply, with its last message, where it is one to keep."""
        if message["type"] == "http.response.start":
            if _lasting(message["status"]):
                named = (
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                )
                self._head = Head(message["status"], list(named))
            return None
        if self._head is None or message["type"] != "http.response.body":
            return None
        part = message.get("body", b"")
        if part.startswith(FAILED) or len(self._body) + len(part) > self._most:
            self._head = None
            self._body.clear()
            return None
        self._body += part
        return None if message.get("more_body", False) else Reply(self._head, bytes(self._body))


def _lasting(status: int) -> bool:
    """Whether the same request would end so again, or has been answered."""
    return 200 <= status < 300 or (400 <= status < 500 and status not in PASSING)


def _key(given: list[str], path: str) -> str:
    if path.startswith(SECRETS):
        message = f"{NAME} is not taken under {SECRETS}, whose replies are not kept. Leave it out."
        raise unreadable(message, NAME, "invalid_idempotency_key")
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        message = f"{NAME} must be given once, as 1 to 255 printable ASCII characters. A UUID will do."
        raise unreadable(message, NAME, "invalid_idempotency_key")
    return given[0]


def _digest(parts: tuple[bytes, ...]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


async def _replay(reply: Reply, scope: Scope, send: Send) -> None:
    scope["state"]["facts"]["replayed"] = True
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.head.headers]
    headers.append((b"idempotent-replayed", b"true"))
    await send({"type": "http.response.start", "status": reply.head.status, "headers": headers})
    for at in range(0, len(reply.body), PIECE):  # in pieces, so that a slow client holds no more than one
        piece = reply.body[at : at + PIECE]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
