"""Prometheus metrics of the jobs of one service process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase


class JobMetrics:
    """Counts what this process does with jobs; `all` is to be registered."""

    def __init__(self) -> None:
        self.ended = Counter("aliquot_jobs", "Jobs that ended.", ("status",), registry=None)
        self.begun = Counter("aliquot_job_attempts", "Attempts at jobs that were begun.", registry=None)
        self.taken_over = Counter(
            "aliquot_job_takeovers", "Attempts at jobs whose worker was gone.", registry=None
        )
        self.replayed = Counter(
            "aliquot_job_replayed_records", "Records of journals that were not paid for again.", registry=None
        )
        self.leases_lost = Counter(
            "aliquot_job_leases_lost", "Attempts broken off since another may have the job.", registry=None
        )
        self.handed_back = Counter(
            "aliquot_jobs_handed_back", "Jobs given back when the service stopped.", registry=None
        )
        self.running = Gauge("aliquot_jobs_running", "Jobs that run in this process.", registry=None)
        self.waiting = Gauge("aliquot_jobs_waiting", "Jobs that wait, of all processes.", registry=None)

    @property
    def all(self) -> tuple[MetricWrapperBase, ...]:
        return (
            self.ended,
            self.begun,
            self.taken_over,
            self.replayed,
            self.leases_lost,
            self.handed_back,
            self.running,
            self.waiting,
        )
