"""How many requests a replica may have under way at a model's engines, by what these say of their load."""

from __future__ import annotations

import math
from typing import Final, Literal

from engines.load import Load
from service.settings import Limits

Full = Literal["engine_waiting", "kv_usage"]
"""Why the engines take no more: too many of their sequences wait, or too much of their KV cache is taken."""

LEAST: Final = 2
"""Requests that a replica may always have under way, so that other replicas cannot shut it out."""
CAREFUL_SECONDS: Final = 10.0
"""How long after the engines were full their load is tried out slowly, and what does not fit is refused at once."""
GROWN: Final = 1.1
"""Where so many times more sequences run than at the last reading, what waits is on its way in."""
FEW_WAITING: Final = 8
"""Sequences that may wait in any engine: where outputs are short, as many come in a step as run."""
JOBS_SHARE: Final = 0.8
"""Jobs are begun up to this share of both limits: the rest is for who waits for an answer."""


class Window:
    """What a replica may have under way: at each reading, at most twice what it had, and less once sequences wait.

    By Little's law a request's time in an engine grows in proportion to what waits there beside what runs. Engines are
    full where more than `limits.engine_waiting` sequences wait for each that runs, and more than a few, reading after
    reading, and no more run than before: what has just come waits for a step in any engine. The window shrinks until no
    more than that wait; then it grows by that share at a time, and doubles again once the engines have not been full
    for a while. They are full too where more of their KV cache than `limits.kv_usage` is taken: then nothing is begun
    until something ends. Engines whose load is not known set no bound.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.under_way = 0
        self.allowed: float = LEAST
        self.load: Load | None = None
        self._most = self._most_before = 0
        self._full: Full = "engine_waiting"
        self._careful_until = -math.inf

    @property
    def has_room(self) -> bool:
        return self.under_way < self.allowed

    @property
    def has_room_for_jobs(self) -> bool:
        """Whether few sequences wait in the engines, as far as is known."""
        load = self.load
        return self.has_room and (load is None or self._over(load, share=JOBS_SHARE) is None)

    def enter(self) -> None:
        self.under_way += 1
        self._most = max(self._most, self.under_way)

    def leave(self) -> None:
        self.under_way -= 1

    def full(self, now: float) -> Full | None:
        """Why a request that finds no room is not to wait for the next reading; None where it may find some then."""
        return self._full if now < self._careful_until else None

    def heard(self, load: Load | None, now: float) -> None:
        """Take a reading in; None where there is none."""
        before, self.load = self.load, load
        most = max(self._most, self._most_before)
        self._most, self._most_before = self.under_way, self._most
        if load is None:
            self.allowed, self._careful_until = math.inf, -math.inf
        else:
            self.allowed = max(LEAST, self._fitting(load, before, most, now))

    def rest(self) -> None:
        """Begin anew: nothing is under way, and what was known is old."""
        self.load, self.allowed = None, LEAST
        self._most = self._most_before = 0

    def _tolerated(self, load: Load) -> float:
        """Sequences that may wait in an engine."""
        return max(FEW_WAITING, self._limits.engine_waiting * load.running)

    def _over(self, load: Load, share: float = 1.0) -> Full | None:
        if load.kv_usage > share * self._limits.kv_usage:
            return "kv_usage"
        return "engine_waiting" if load.waiting > share * self._tolerated(load) else None

    def _fitting(self, load: Load, before: Load | None, most: int, now: float) -> int:
        over = self._over(load)
        if over and before and self._over(before) and load.running <= GROWN * before.running:
            self._full, self._careful_until = over, now + CAREFUL_SECONDS
        elif now < self._careful_until and load.waiting:
            self._careful_until = now + CAREFUL_SECONDS
        if over == "kv_usage" or (over and now >= self._careful_until):
            return self.under_way
        if now >= self._careful_until:
            return 2 * most
        share = (load.running + self._tolerated(load)) / max(1.0, load.running + load.waiting)
        return math.floor(self.under_way * share) if over else math.ceil(most * min(2.0, share))
