"""One attempt at a job: its run, from where the journal of earlier attempts ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import msgspec

from engines.base import EngineError
from service.errors import ApiError
from service.jobs.lease import Lease
from service.jobs.worker import REPEATED, TryAgain
from service.metrics import Metrics
from service.plan_facts import PlanFacts, facts_of
from service.planning import Plan, plan
from service.replies import encode, scaling_outcome
from service.response_facts import response_facts
from service.running import Run, run
from service.schemas import DEFAULT_TASK, read_chat
from service.world import World
from strategies.journal import Draw, Journal, Record, Retried, lost
from strategies.journal_codec import decode_record


class Performer:
    """Runs jobs with what `world` has, and counts what they spent, once for each that ends."""

    def __init__(self, world: World, metrics: Metrics) -> None:
        self._world = world
        self._metrics = metrics

    async def __call__(self, lease: Lease) -> bytes:
        held, tracing = lease.held, self._world.tracing
        with tracing.job(held.id, held.attempt, held.tenant) if tracing else nullcontext():
            return await self._outcome(lease)

    async def _outcome(self, lease: Lease) -> bytes:
        """The outcome of a job, as /v1/scale would have answered it.

        Each record is in the job's journal before the run goes on, so that it is never paid for again. Raises ApiError
        as a request does, TryAgain where the engine failed midway and this is not the last try, LeaseLost, and
        ValueError for a journal that cannot be read.
        """
        world, held = self._world, lease.held
        kept = await lease.kept()
        request = read_chat(kept.request)
        facts, records = read_journal(kept.lines)
        tenant = await world.tenants.tenant(held.tenant)
        async with world.admission.entered(request.model, "job"):
            planned = await plan(world, request, tenant, facts=facts)
            if failed_since_retry(records):
                await lease.keep(Retried())
                records.append(Retried())
            async with world.tenants.spending(
                tenant, held.id, planned, interactive=False, lost=lost(records)
            ) as spending:
                if facts is None:
                    await lease.keep_line(msgspec.json.encode(facts_of(spending.plan)))
                world.jobs.metrics.replayed.inc(len(records))
                done = await self._run(spending.plan, Journal(records, lease.keep), lease)
        task = (request.scaling and request.scaling.task) or DEFAULT_TASK
        world.records.keep_response(held.id, response_facts(done, task, tenant))
        return encode(scaling_outcome(done, held.id))

    async def _run(self, planned: Plan, journal: Journal, lease: Lease) -> Run:
        try:
            done = await run(planned, journal=journal, listen=lease.hear)
        except ApiError as error:
            if error.status not in REPEATED:
                self._metrics.ran(planned.model, planned.strategy.name, "failed", planned.ledger)
            raise
        last = lease.held.fruitless >= self._world.limits.job_attempts
        if (
            not last
            and done.outcome.stopped_because == "engine_failed"
            and failed_since_retry(journal.records)
        ):
            raise TryAgain
        self._metrics.ran(planned.model, planned.strategy.name, done.outcome.stopped_because, planned.ledger)
        return done


def read_journal(lines: Sequence[bytes]) -> tuple[PlanFacts | None, list[Record]]:
    """The plan's facts and the records in a job's journal. Raises ValueError for what is neither."""
    if not lines:
        return None, []
    facts = msgspec.json.decode(lines[0], type=PlanFacts)
    return facts, [decode_record(line) for line in lines[1:]]


def failed_since_retry(records: Sequence[Record]) -> bool:
    """Whether a call failed with nothing to show after the last retry: it is to be made again, not replayed."""
    for record in reversed(records):
        match record:
            case Retried():
                return False
            case Draw(failure=EngineError(), drawn=[]):
                return True
    return False
