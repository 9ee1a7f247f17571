"""What is taken on and refused, and how busy the engines are, for /metrics: read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from engines.load import Load
from service.admission import Admission

ENGINE: Final[tuple[tuple[str, str, Callable[[Load], float]], ...]] = (
    ("aliquot_engine_running", "Sequences that run in an engine.", lambda load: load.running),
    ("aliquot_engine_waiting", "Sequences that wait in an engine.", lambda load: load.waiting),
    ("aliquot_engine_kv_usage", "Share of an engine's KV cache in use.", lambda load: load.kv_usage),
)


class LoadMetrics(Collector):
    """An engine's gauges are there while its load is known."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        admitted = CounterMetricFamily("aliquot_admitted", "Requests and jobs taken on.", labels=["priority"])
        under_way = GaugeMetricFamily(
            "aliquot_under_way", "Requests and jobs taken on that have not ended.", labels=["priority"]
        )
        for priority, count in self._admission.admitted.items():
            admitted.add_metric([priority], count)
            under_way.add_metric([priority], self._admission.under_way[priority])
        refused = CounterMetricFamily("aliquot_refused", "Requests refused for overload.", labels=["reason"])
        for reason, count in self._admission.refused.items():
            refused.add_metric([reason], count)
        yield from (admitted, under_way, refused)
        for name, text, value in ENGINE:
            gauge = GaugeMetricFamily(name, text, labels=["model", "replica"])
            for model, load in self._admission.loads.items():
                for replica, known in load.loads.items():
                    gauge.add_metric([model, replica], value(known))
            yield gauge
