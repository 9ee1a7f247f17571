"""How much a replica may have under way, by what its engines say: in words, and in a simulated engine."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.load import Load
from service.settings import Limits
from service.window import CAREFUL_SECONDS, LEAST, Window

LIMITS = Limits(engine_waiting=0.25, kv_usage=0.9)
IDLE, QUEUE, CROWDED = Load(40, 0, 0.1), Load(64, 64, 0.1), Load(64, 0, 0.95)


def window(under_way: int = 0) -> Window:
    made = Window(LIMITS)
    for _ in range(under_way):
        made.enter()
    return made


def test_with_nothing_waiting_it_doubles_what_was_under_way():
    opened = window(5)
    opened.heard(IDLE, 0.0)
    assert opened.allowed == 10
    assert opened.has_room


def test_what_ended_since_the_last_reading_still_counts_so_that_clients_that_come_in_beats_are_not_held_up():
    opened = window(8)
    for _ in range(8):
        opened.leave()
    opened.heard(IDLE, 0.0)
    assert opened.allowed == 16
    opened.heard(IDLE, 1.0)
    opened.heard(IDLE, 2.0)
    assert opened.allowed == LEAST


def test_an_engine_that_does_not_tell_its_load_sets_no_bound():
    opened = window(100)
    opened.heard(None, 0.0)
    assert opened.has_room
    assert opened.full(0.0) is None


def test_a_queue_that_one_reading_sees_stops_growth_and_refuses_nobody():
    opened = window(10)
    opened.heard(QUEUE, 0.0)
    assert not opened.has_room
    assert opened.full(0.0) is None
    opened.heard(IDLE, 0.5)
    assert opened.allowed == 20


def test_a_queue_that_stays_shrinks_it_until_no_more_waits_than_may():
    opened = window(16)
    opened.heard(QUEUE, 0.0)
    opened.heard(QUEUE, 0.5)
    assert opened.full(0.5) == "engine_waiting"
    assert opened.allowed == 10  # of 128 sequences 64 run and 16 may wait: 16 requests × 80 / 128


def test_a_queue_beside_which_ever_more_run_is_on_its_way_in():
    opened = window(10)
    opened.heard(Load(64, 64, 0.1), 0.0)
    opened.heard(Load(128, 64, 0.1), 0.5)
    assert opened.full(0.5) is None


def test_where_outputs_are_so_short_that_as_many_come_in_a_step_as_run_it_stays_open():
    opened = window(20)
    for at in range(5):
        opened.heard(Load(8, 8, 0.1), float(at))
    assert opened.allowed == 40


def test_a_full_kv_cache_lets_nothing_begin_until_something_ends():
    opened = window(6)
    opened.heard(CROWDED, 0.0)
    opened.heard(CROWDED, 0.5)
    assert opened.full(0.5) == "kv_usage"
    assert not opened.has_room
    opened.leave()
    assert opened.has_room


def test_after_a_queue_it_grows_slowly_for_a_while():
    opened = window(16)
    for at in (0.0, 0.5):
        opened.heard(QUEUE, at)
    opened.heard(IDLE, 1.0)
    assert opened.allowed == 20
    opened.heard(IDLE, 1.0 + CAREFUL_SECONDS)
    assert opened.full(1.0 + CAREFUL_SECONDS) is None
    assert opened.allowed == 32


def test_jobs_find_no_room_before_interactive_requests_do():
    opened = window(1)
    for load, room in ((Load(64, 14, 0.1), False), (Load(64, 0, 0.8), False), (Load(64, 4, 0.5), True)):
        opened.heard(load, 0.0)
        assert opened.has_room
        assert opened.has_room_for_jobs is room


@given(
    st.lists(
        st.tuples(
            st.integers(-3, 8),
            st.none() | st.builds(Load, st.integers(0, 2000), st.integers(0, 2000), st.floats(0, 1)),
        )
    )
)
def test_some_may_always_be_under_way_and_never_more_than_twice_what_was(readings):
    opened = window()
    most = [0, 0]
    for now, (change, load) in enumerate(readings):
        for _ in range(change):
            opened.enter()
        most[-1] = max(most[-1], opened.under_way)
        for _ in range(min(-change, opened.under_way)):
            opened.leave()
        opened.heard(load, float(now))
        assert opened.allowed >= LEAST
        if load:
            assert opened.allowed <= max(LEAST, 2 * max(most))
        most = [most[-1], opened.under_way]


@dataclass(eq=False)
class Asked:
    """A request in the simulated engine, of several sequences."""

    at: int
    window: Window
    left: int


@dataclass
class Simulation:
    """An engine of so many slots, in steps of 10 ms; a sequence takes a second. Replicas read its load as they do."""

    slots: int
    replicas: int
    samples: int
    waiting: deque[Asked] = field(default_factory=deque)
    running: deque[tuple[int, Asked]] = field(default_factory=deque)
    latencies: list[int] = field(default_factory=list)
    refused: int = 0
    busy: int = 0

    def run(self, a_step: float, steps: int, count_from: int) -> None:
        windows = [Window(LIMITS) for _ in range(self.replicas)]
        patient: list[list[int]] = [[] for _ in windows]
        due = 0.0
        for now in range(steps):
            self._step(now, counts=now >= count_from)
            for i, opened in enumerate(windows):
                if now % 25 == i:
                    load = Load(len(self.running), len(self.waiting), 0.1)
                    opened.heard(load, now / 100)
                    patient[i] = self._begin(patient[i], opened, now)
            due += a_step
            while due >= 1:
                due -= 1
                i = now % self.replicas
                patient[i] += self._begin([now], windows[i], now)

    def _begin(self, comers: list[int], opened: Window, now: int) -> list[int]:
        """Those that wait for the next reading."""
        patient = []
        for at in comers:
            if opened.has_room:
                opened.enter()
                self.waiting.extend([Asked(at, opened, self.samples)] * self.samples)
            elif opened.full(now / 100):
                self.refused += 1
            else:
                patient.append(at)
        return patient

    def _step(self, now: int, counts: bool) -> None:
        while self.running and self.running[0][0] <= now:
            asked = self.running.popleft()[1]
            asked.left -= 1
            if not asked.left:
                asked.window.leave()
                self.latencies += [now - asked.at] * counts
        while self.waiting and len(self.running) < self.slots:
            self.running.append((now + 100, self.waiting.popleft()))
        self.busy += len(self.running) * counts


@pytest.mark.parametrize(("slots", "replicas"), [(128, 1), (128, 3), (1024, 1), (1024, 3)])
def test_under_twenty_times_the_load_the_engine_is_busy_and_latency_stays_within_twice(slots, replicas):
    """On a CPU's 128 sequences and on an H100's 1,024, whatever the number of replicas in front."""
    simulated = Simulation(slots, replicas, samples=8)
    simulated.run(a_step=20 * slots / 8 / 100, steps=1500, count_from=500)
    latencies = sorted(simulated.latencies)
    assert simulated.busy > 0.9 * slots * 1000
    assert latencies[int(0.99 * len(latencies))] < 200
    assert simulated.refused > 10 * len(latencies)


@pytest.mark.parametrize("slots", [128, 1024])
def test_below_capacity_nobody_is_refused(slots):
    simulated = Simulation(slots, replicas=2, samples=8)
    simulated.run(a_step=0.7 * slots / 8 / 100, steps=1500, count_from=500)
    assert simulated.refused == 0
    assert max(simulated.latencies) <= 101
