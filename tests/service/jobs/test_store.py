"""Any order of steps by any number of workers, against a model of what a job is."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from service.errors import ApiError
from service.jobs.store import JobStore
from service.settings import Limits, Settings
from service.store.client import Store
from tests.redis_server import stored
from tests.service.jobs.replicas import QUICK, lapse

MOST_WAITING = 4


@dataclass
class Model:
    """A job as it should be. `place`: where it is queued, if it is; `lapsed`: whoever held it may not any more."""

    priority: str
    place: str = "queue"
    lapsed: bool = False
    status: str = "queued"
    holder: str | None = None
    attempts: int = 0
    fruitless: int = 0
    journal: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    result: bytes | None = None

    @property
    def free(self) -> bool:
        return self.place in ("queue", "later") or (self.place == "pending" and self.lapsed)

    def end(self, status: str) -> None:
        self.status, self.place, self.holder = status, "", None


class Machine(RuleBasedStateMachine):
    """Submits, takes, lets leases lapse, and writes as workers that hold a job, or held it once."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = Store(stored(Settings()))
        self.runner.run(self.store.start())
        self.jobs = JobStore(self.store, Limits(jobs_waiting=MOST_WAITING))
        self.models: dict[str, Model] = {}

    def teardown(self) -> None:
        self.runner.run(self.store.stop())
        self.runner.close()

    @rule(priority=st.sampled_from(["interactive", "batch"]))
    def submit(self, priority):
        id, full = f"job_{len(self.models)}", self.waiting >= MOST_WAITING
        submitted = self.jobs.submit("a", id, b"{}", model="m", webhook=None, priority=priority)
        if full:
            with pytest.raises(ApiError, match="wait"):
                self.runner.run(submitted)
        else:
            assert self.runner.run(submitted).status == "queued"
            self.models[id] = Model(priority)

    @property
    def waiting(self) -> int:
        return sum(model.place in ("queue", "later") for model in self.models.values())

    @rule(target=leases)
    def take(self):
        held = self.runner.run(self.jobs.take(QUICK.lease))
        free = {model.priority for model in self.models.values() if model.free}
        if held is None:
            assert not free
            return multiple()
        model = self.models[held.id]
        assert model.free
        assert model.priority == max(free)  # interactive before batch
        assert held.taken_over == (model.status == "running")
        model.attempts += 1
        model.fruitless += 1
        assert (held.attempt, held.fruitless) == (model.attempts, model.fruitless)
        for other in self.models.values():
            other.place = "queue" if other.place == "later" else other.place
        model.place, model.lapsed, model.status, model.holder = "pending", False, "running", held.holder
        return held

    @rule()
    def let_leases_lapse(self):
        self.runner.run(lapse(self))
        for model in self.models.values():
            model.lapsed = model.place == "pending"

    @rule(held=leases)
    def renew(self, held):
        _, states = self.runner.run(self.jobs.watch([held], renew=True))
        model = self.models[held.id]
        if model.holder == held.holder:
            assert states == ["held"]
            model.lapsed = False
        else:
            assert states == ["cancelled" if model.status == "cancelled" else "lost"]

    @rule(held=leases, back=st.integers(0, 2), fruitful=st.booleans())
    def append(self, held, back, fruitful):
        model = self.models[held.id]
        index, line = max(0, len(model.journal) - back), b"%d" % len(model.journal)
        first, event = len(model.events), b'{"event":%d}' % len(model.events)
        mark = "fruitful" if fruitful else ""
        kept = self.runner.run(self.jobs.append(held, index, line, mark, first, [event]))
        assert kept == (model.holder == held.holder and index == len(model.journal))
        if kept:
            model.journal.append(line)
            model.events.append(event)
            model.fruitless = 0 if fruitful else model.fruitless
            again = self.jobs.append(held, index, line, mark, first, [event])
            assert self.runner.run(again)

    @rule(held=leases, status=st.sampled_from(["completed", "failed"]))
    def finish(self, held, status):
        model, result = self.models[held.id], held.holder.encode() if status == "completed" else b""
        kept = self.runner.run(self.jobs.finish(held, status, b"", result))
        assert kept == (held.holder in (model.holder, getattr(model, "ended_by", None)))
        if model.holder == held.holder:
            model.end(status)
            model.result = result or None
            model.ended_by = held.holder

    @rule(held=leases, at_once=st.booleans(), counts=st.booleans())
    def give_up(self, held, at_once, counts):
        model = self.models[held.id]
        seconds = None if at_once else 0.0
        kept = self.runner.run(self.jobs.give_up(held, seconds, QUICK.lease, counts=counts))
        assert kept == (model.holder == held.holder)
        if kept:
            model.status, model.holder = "queued", None
            model.place = "pending" if at_once else "later"
            model.lapsed = at_once
            model.fruitless -= (at_once or not counts) and model.fruitless > 0

    @rule(number=st.integers(0, 5))
    def cancel(self, number):
        id = f"job_{number}"
        if id in self.models:
            model = self.models[id]
            assert self.runner.run(self.jobs.cancel("a", id)) == (model.status in ("queued", "running"))
            if model.status in ("queued", "running"):
                model.end("cancelled")

    @invariant()
    def everything_is_as_the_model_says(self):
        views = {view.id: view for view in self.runner.run(self.jobs.page("a", None, 100))[0]}
        assert list(views) == list(reversed(self.models))
        for id, model in self.models.items():
            assert (views[id].status, views[id].attempts) == (model.status, model.attempts)
            assert self.runner.run(self.jobs.whole("a", id))[1] == model.result
            assert self.runner.run(self.jobs.kept(id)).lines == model.journal
            ended, events = self.runner.run(self.jobs.events(id, "0-0", 1_000))
            assert ended == (model.place == "")
            assert [data for _, data in events if b"status" not in data] == model.events
        assert self.runner.run(self.jobs.watch([], renew=False))[0] == self.waiting


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
