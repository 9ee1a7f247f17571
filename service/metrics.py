"""Prometheus metrics of one service process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.registry import Collector

from budgets.ledger import Ledger
from service.tenants.counters import TenantCounters

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

SPENT: tuple[tuple[str, str, Callable[[Ledger], float]], ...] = (
    ("aliquot_samples", "Samples begun.", lambda ledger: ledger.spent.samples),
    ("aliquot_generated_tokens", "Tokens generated, by verifiers too.", lambda ledger: ledger.spent.tokens),
    ("aliquot_prompt_tokens", "Prompt tokens the generator read.", lambda ledger: ledger.spent.prompt_tokens),
    (
        "aliquot_prefix_cache_hit_tokens",
        "Prompt tokens found in the prefix cache.",
        lambda ledger: ledger.spent.cached_tokens,
    ),
    ("aliquot_verifier_tokens", "Tokens verifiers read.", lambda ledger: ledger.spent.verifier_tokens),
    ("aliquot_eflops", "FLOP by the cost law, where it is known.", lambda ledger: ledger.spent.charge.eflops),
    ("aliquot_usd", "USD, where a price is known.", lambda ledger: ledger.spent.charge.usd),
    (
        "aliquot_engine_seconds",
        "Seconds runs waited for the engine.",
        lambda ledger: ledger.spent.engine_seconds,
    ),
    (
        "aliquot_outside_engine_seconds",
        "Seconds runs spent elsewhere.",
        lambda ledger: max(0.0, ledger.seconds - ledger.spent.engine_seconds),
    ),
)
"""What each run adds, by model and strategy."""


class Metrics:
    """Counts requests and what runs spent; `text` is what /metrics answers."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        by = ("model", "strategy")
        self._requests = Counter(
            "aliquot_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self._request_seconds = Histogram(
            "aliquot_request_seconds", "Seconds to answer.", ("route",), registry=registry, buckets=SECONDS
        )
        self.in_flight = Gauge("aliquot_requests_in_flight", "Requests being answered.", registry=registry)
        self._runs = Counter("aliquot_runs", "Finished runs.", (*by, "stopped_because"), registry=registry)
        self.lost = Counter(
            "aliquot_responses_not_kept", "Responses on which feedback cannot be given.", registry=registry
        )
        self.replayed = Counter(
            "aliquot_replies_replayed", "Replies sent again for their Idempotency-Key.", registry=registry
        )
        self._feedback = Counter(
            "aliquot_feedback", "Responses that were judged.", (*by, "correct"), registry=registry
        )
        self.tenants = TenantCounters(registry)
        self._overspends = Counter(
            "aliquot_overspends", "Runs that spent more than a cap: always 0.", registry=registry
        )
        self._spent = [Counter(name, text, by, registry=registry) for name, text, _ in SPENT]
        self._labelled: dict[
            tuple[str, str], list[Counter]
        ] = {}  # looking labels up costs more than counting

    def add(self, collector: Collector) -> None:
        """Tell what `collector` collects as well, each time that /metrics is asked for."""
        self._registry.register(collector)

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def ran(self, model: str, strategy: str, stopped_because: str, ledger: Ledger) -> None:
        """Count a run that ended, in whatever way, by the account of its ledger."""
        labels = (model, strategy)
        if labels not in self._labelled:
            self._labelled[labels] = [counter.labels(*labels) for counter in self._spent]
        for counter, (_, _, amount) in zip(self._labelled[labels], SPENT, strict=True):
            counter.inc(amount(ledger))
        self._runs.labels(*labels, stopped_because).inc()
        self._overspends.inc(ledger.overspent)

    def judged(self, model: str, strategy: str, *, correct: bool) -> None:
        """Count a verdict on a response."""
        self._feedback.labels(model, strategy, str(correct).lower()).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
