"""Every request gets an id, a line in the log, and its place in the metrics."""

from __future__ import annotations

import re
import time
from typing import Any, cast
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.draining import Draining
from service.logs import logger
from service.metrics import Metrics

CLIENT_LEFT = 499
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Access:
    """Sets X-Request-Id (the client's, where it sends a usable one) and records how each request ended.

    While the service drains, its replies ask for their connections to be closed. Handlers find the id in
    `scope["state"]["request_id"]`, and put facts for the log into `scope["state"]["facts"]`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, draining: Draining) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining
        self._log = logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["facts"] = facts = cast("dict[str, Any]", {})
        status = CLIENT_LEFT

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if self._draining.begun:
                    headers["Connection"] = "close"
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, note)
        except Exception:
            status = 500  # what the handler around this one answers
            raise
        finally:
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.answered(route, status, seconds)
            self._log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1e3, 2),
                **facts,
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _ID.fullmatch(given):
                return str(given)
    return f"req_{uuid4().hex}"
