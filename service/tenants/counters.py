"""Prometheus metrics of tenants, with a bounded number of names."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from budgets.ledger import Spent

MOST_NAMED: Final = 100
OTHERS: Final = "(others)"
"""What tenants past the first `MOST_NAMED` of a process are counted as; no tenant can have such a name."""


class TenantCounters:
    """What tenants have spent by strategy, and what limits have refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ("tenant", "strategy")
        self._runs = Counter("aliquot_tenant_runs", "Runs charged to a tenant.", by, registry=registry)
        self._tokens = Counter("aliquot_tenant_tokens", "Tokens generated.", by, registry=registry)
        self._usd = Counter("aliquot_tenant_usd", "USD, where a price is known.", by, registry=registry)
        self._refused = Counter(
            "aliquot_tenant_refused", "Runs refused by a limit.", ("tenant", "code"), registry=registry
        )
        self._named: set[str] = set()

    def settled(self, tenant: str, strategy: str, spent: Spent) -> None:
        """Count a run that ended, in whatever way."""
        labels = self._label(tenant), strategy
        self._runs.labels(*labels).inc()
        self._tokens.labels(*labels).inc(spent.tokens)
        self._usd.labels(*labels).inc(spent.charge.usd)

    def refused(self, tenant: str, code: str) -> None:
        """Count a run that did not begin."""
        self._refused.labels(self._label(tenant), code).inc()

    def _label(self, tenant: str) -> str:
        if tenant not in self._named:
            if len(self._named) >= MOST_NAMED:
                return OTHERS
            self._named.add(tenant)
        return tenant
