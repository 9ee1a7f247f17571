"""Every request of the API is a span."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import StatusCode, format_trace_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.middleware.access import CLIENT_LEFT
from service.tracing.tracing import Tracing

CONTEXT: Final = (b"traceparent", b"tracestate")
"""The headers of W3C's Trace Context."""


class Traced:
    """The span of a request begins in the client's trace, where it names one; its trace's id goes into the log's line.

    Checks of health and metrics are not traced.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        status = CLIENT_LEFT

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method, state = scope["method"], scope["state"]
        headers = {
            name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in CONTEXT
        }
        with self._tracing.request(method, headers) as span:
            state["facts"]["trace"] = format_trace_id(span.get_span_context().trace_id)
            try:
                await self._app(scope, receive, note)
            except Exception:
                status = 500  # what the handler around this one answers
                raise
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                        "aliquot.request_id": state["request_id"],
                    }
                )
                if tenant := state["facts"].get("tenant"):
                    span.set_attribute("aliquot.tenant", tenant)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
