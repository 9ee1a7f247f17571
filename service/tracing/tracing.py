"""Spans of requests and runs, sent to a collector by OTLP over HTTP in a thread of the SDK's own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, use_span
from pydantic import HttpUrl

from engines.base import Engine
from service.errors import ApiError
from service.tracing.calls import TracedEmbedder, TracedEngine, TracedVerifier
from service.tracing.collector import traces_url
from service.tracing.spans import W3C, Attributes, Spans

if TYPE_CHECKING:
    from service.planning import Plan

FLUSH_SECONDS: Final = 3.0
"""What the collector has to take the last spans, when the service ends."""


@dataclass(slots=True)
class TracedRun:
    """A run within its span: `plan` is the one to run, `stopped_because` for the run to say."""

    plan: Plan
    stopped_because: str = "failed"


class Tracing:
    """Sends spans to `collector`. They hold numbers and names: no prompt, no answer, no key, no error's sentence.

    What OpenTelemetry's own variables configure, they do: the sampler, the resource, the exporter's headers and time.
    """

    def __init__(self, collector: HttpUrl) -> None:
        named = os.environ.get("OTEL_SERVICE_NAME", "aliquot")
        resource = Resource.create({"service.name": named, "service.version": version("aliquot")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=traces_url(collector))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("aliquot")
        self._spans = Spans(self._tracer)

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Generator[Span]:
        """The span of a request, in the client's trace where `headers` name one."""
        span = self._tracer.start_span(name, W3C.extract(headers), SpanKind.SERVER)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    def job(self, id: str, attempt: int, tenant: str) -> AbstractContextManager[Span]:
        """The span of an attempt at a job, which begins a trace: who submitted it may be long gone."""
        known: Attributes = {"aliquot.job": id, "aliquot.attempt": attempt, "aliquot.tenant": tenant}
        return self._spans.span("job", known)

    @contextmanager
    def run(self, plan: Plan) -> Generator[TracedRun]:
        """The span of a run: what it may spend, what it spent, and how it ended."""
        known: Attributes = {
            "aliquot.model": plan.model,
            "aliquot.strategy": plan.strategy.name,
            "aliquot.chosen_by": plan.chosen_by,
            **_amounts("budget", asdict(plan.ledger.budget)),
        }
        with self._spans.span(f"run {plan.strategy.name}", known) as span:
            traced = TracedRun(self._traced(plan))
            try:
                yield traced
            except ApiError as error:
                span.set_attribute("aliquot.error", error.code)
                raise
            finally:
                spent = asdict(plan.ledger.spent)
                charge = spent.pop("charge")
                amounts = _amounts("spent", {**spent, "eflops": charge["eflops"], "usd": charge["usd"]})
                span.set_attributes({"aliquot.stopped_because": traced.stopped_because, **amounts})

    def engine(self, engine: Engine, replica: str) -> Engine:
        """`engine` with a span for each of its calls; `replica` is its address, without a password."""
        return TracedEngine(engine, replica, self._spans)

    async def close(self) -> None:
        """Send what is left, for `FLUSH_SECONDS` at most."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop is closed: nobody waited so long
                loop.call_soon_threadsafe(sent.set)

        # A daemon, unlike the threads of an executor: the process ends without it.
        threading.Thread(target=send, name="last-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await sent.wait()

    def _traced(self, plan: Plan) -> Plan:
        verifier, embedder = plan.verifier, plan.embedder
        return replace(
            plan,
            verifier=TracedVerifier(verifier, self._spans) if verifier else None,
            embedder=TracedEmbedder(embedder, self._spans) if embedder else None,
        )


def _amounts(of: str, amounts: Mapping[str, Any]) -> dict[str, float]:
    """Attributes of a budget or what is spent of one, a unit each."""
    return {f"aliquot.{of}.{unit}": amount for unit, amount in amounts.items() if amount is not None}
