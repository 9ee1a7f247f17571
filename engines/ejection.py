"""Whether a replica is given calls: out of service after a failure, back after a call that succeeds."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REST = 5.0
LONGEST_REST = 60.0


@dataclass(slots=True)
class Standing:
    """A replica's standing; times are by the caller's clock, in seconds.

    One that fails is out for `FIRST_REST` seconds, and each trial that fails as well doubles the rest, up to
    `LONGEST_REST`. After the rest it is `due` for one call on trial, and no second one while that is under way. A
    success on trial, or of a call that was given to it for want of others, takes it back. What else fails while it is
    out, calls that were under way say, changes nothing.
    """

    ejections: int = 0
    _rests: int = 0
    _until: float = 0.0
    _on_trial: bool = False

    @property
    def out(self) -> bool:
        return self._rests > 0

    def due(self, now: float) -> bool:
        return self.out and not self._on_trial and self._until <= now

    def try_out(self) -> None:
        self._on_trial = True

    def give_up_trial(self) -> None:
        """End a trial that showed nothing, its caller having left say."""
        self._on_trial = False

    def fail(self, now: float) -> None:
        if self.out and not self._on_trial:
            return
        self._on_trial = False
        self._rests += 1
        self._until = now + min(LONGEST_REST, FIRST_REST * 2.0 ** min(self._rests - 1, 10))
        self.ejections += 1

    def succeed(self) -> None:
        self._rests = 0
        self._on_trial = False
