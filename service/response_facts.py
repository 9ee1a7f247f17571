"""What is kept of an answer, for feedback on it."""

from __future__ import annotations

from typing import Final

import msgspec

from service.records import ResponseFacts
from service.running import Run
from service.tenants.tenant import Tenant

WHOLE: Final = ("completed", "accepted", "consensus", "budget_samples")
"""Ends of runs that had what they were given: those that stopped early would have answered the same with all of it."""


def response_facts(done: Run, task: str, tenant: Tenant) -> ResponseFacts:
    """The facts of a run's response, which is the tenant's."""
    plan = done.plan
    alike, samples = plan.alike
    return ResponseFacts(
        model=plan.model,
        task=task,
        strategy=alike.name,
        samples=samples if done.outcome.stopped_because in WHOLE else done.spent.samples,
        params=msgspec.to_builtins(alike),
        verifier=plan.verifier.name if plan.verifier else None,
        k=plan.problem.k,
        tenant=tenant.name,
    )
