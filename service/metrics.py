"""Prometheus metrics of one service process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.running import Run

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counts requests and what runs spent; `text` is what /metrics answers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        by_strategy = ("model", "strategy")

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(name, text, labels, registry=self._registry)

        self._requests = counter("aliquot_requests", "Requests answered.", ("route", "status"))
        self._request_seconds = Histogram(
            "aliquot_request_seconds",
            "Seconds to answer.",
            ("route",),
            registry=self._registry,
            buckets=SECONDS,
        )
        self.in_flight = Gauge(
            "aliquot_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        self._runs = counter("aliquot_runs", "Finished runs.", (*by_strategy, "stopped_because"))
        self._samples = counter("aliquot_samples", "Samples begun.", by_strategy)
        self._tokens = counter("aliquot_generated_tokens", "Tokens generated, by verifiers too.", by_strategy)
        self._prompt = counter("aliquot_prompt_tokens", "Prompt tokens the generator read.", by_strategy)
        self._cached = counter(
            "aliquot_prefix_cache_hit_tokens", "Prompt tokens found in the prefix cache.", by_strategy
        )
        self._verifier = counter("aliquot_verifier_tokens", "Tokens verifiers read.", by_strategy)
        self._engine = counter(
            "aliquot_engine_seconds", "Seconds runs spent waiting for the engine.", by_strategy
        )
        self._outside = counter(
            "aliquot_outside_engine_seconds", "Seconds runs spent elsewhere.", by_strategy
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def ran(self, run: Run) -> None:
        labels = (run.plan.model, run.plan.strategy.name)
        self._runs.labels(*labels, run.outcome.stopped_because).inc()
        self._samples.labels(*labels).inc(run.spent.samples)
        self._tokens.labels(*labels).inc(run.spent.tokens)
        self._prompt.labels(*labels).inc(run.spent.prompt_tokens)
        self._cached.labels(*labels).inc(run.spent.cached_tokens)
        self._verifier.labels(*labels).inc(run.spent.verifier_tokens)
        self._engine.labels(*labels).inc(run.engine_seconds)
        self._outside.labels(*labels).inc(max(0.0, run.seconds - run.engine_seconds))

    def text(self) -> bytes:
        return generate_latest(self._registry)
