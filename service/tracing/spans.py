"""A span around work: current for what happens inside, and carried along by the calls made there."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from engines.transport import CARRIED

W3C: Final = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int | float | bool]


class Spans:
    """Makes spans. Of an error they tell the type alone: its sentence may hold what a client wrote."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> Generator[Span]:
        with self.open(name, attributes, kind) as span, self.within(span):
            yield span

    @contextmanager
    def open(self, name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> Generator[Span]:
        """A span that lasts as long as its block, without being the current one there."""
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        try:
            yield span
        except (asyncio.CancelledError, GeneratorExit):
            span.set_attribute("aliquot.cancelled", True)
            raise
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()

    @contextmanager
    def within(self, span: Span) -> Generator[None]:
        """A block of which `span` is the current one; no generator may yield inside."""
        with use_span(span, record_exception=False, set_status_on_exception=False):
            headers: dict[str, str] = {}
            W3C.inject(headers)
            before = CARRIED.set(headers)
            try:
                yield
            finally:
                CARRIED.reset(before)
