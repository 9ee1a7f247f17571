"""How often workers look, and how long one may be silent before its jobs are taken over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `lease`: what a worker holds a job for, renewed every `renew`; `watch`: between looks for jobs that were
    cancelled; `idle`: between looks for jobs to take; `pause`: after the store has failed; `poll`: between looks for a
    job's events, and `beat`: between signs of life where there are none."""

    lease: float = 10.0
    renew: float = 2.5
    watch: float = 0.4
    idle: float = 0.25
    pause: float = 0.2
    poll: float = 0.25
    beat: float = 10.0

    @property
    def sure(self) -> float:
        """For how long after a renewal was asked for the lease is surely held, however late the answer came."""
        return 0.9 * self.lease
