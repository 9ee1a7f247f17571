"""Stands in for an OpenTelemetry collector: takes spans by OTLP over HTTP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.stand_ins import serving


@dataclass(frozen=True)
class Received:
    """A span as it came; ids in hexadecimal, no `parent` where it is a root."""

    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any] = field(hash=False)


class Collector:
    """`raw` keeps every body; while `silent` it takes them and answers nothing."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.services: set[str] = set()
        self.raw = b""
        self.silent = False
        self.url = ""

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Received:
        (span,) = self.named(name)
        return span

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.silent:
            await asyncio.sleep(3600)
        self.raw += body
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                a.value.string_value for a in of_resource.resource.attributes if a.key == "service.name"
            }
            for scope in of_resource.scope_spans:
                self.spans += map(_received, scope.spans)
        return web.Response(content_type="application/x-protobuf")


def _received(span: Any) -> Received:
    attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return Received(span.name, *ids, failed=span.status.code == 2, attributes=attributes)


@asynccontextmanager
async def collecting() -> AsyncGenerator[Collector]:
    """A collector that listens."""
    collector = Collector()
    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/v1/traces", collector.take)
    async with serving(app) as url:
        collector.url = url
        yield collector
