"""What became of each model's replicas, for /metrics: read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from engines.pool import Pool


class EngineMetrics(Collector):
    """The replicas of `pools`, by model and address."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        by = ["model", "replica"]
        in_service = GaugeMetricFamily(
            "aliquot_replica_in_service", "Whether calls are given to a replica.", labels=by
        )
        ejections = CounterMetricFamily(
            "aliquot_replica_ejections", "Times a replica was ejected.", labels=by
        )
        repeated = CounterMetricFamily(
            "aliquot_replica_calls_repeated", "A replica's calls repeated elsewhere.", labels=by
        )
        for model, pool in self._pools.items():
            for replica in pool.facts:
                labels = [model, replica.name]
                in_service.add_metric(labels, float(replica.in_service))
                ejections.add_metric(labels, replica.ejections)
                repeated.add_metric(labels, replica.repeated)
        yield from (in_service, ejections, repeated)
