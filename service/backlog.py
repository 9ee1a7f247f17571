"""What has happened in a run and has not been sent yet, bounded: a slow client cannot hold memory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from io import StringIO
from typing import Final

from strategies.search import Event

MOST_EVENTS: Final = 256
"""Events beside text that wait for a client; more are dropped."""


@dataclass(slots=True)
class _Text:
    """Text of one sample as it came, joined."""

    choice: int
    text: StringIO = field(default_factory=StringIO)


class Backlog:
    """Events in order. Text is never dropped, but joined where the client is slow; it is no longer than the sample.

    Of other events the first `MOST_EVENTS` are kept, and one after them says how many were not:
    `{"event": "dropped", "events": 3}`. `some` is set while there are any.
    """

    def __init__(self) -> None:
        self.some = asyncio.Event()
        self._events: deque[Event | _Text] = deque()
        self._others = 0
        self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self._events or self._dropped)

    def add(self, event: Event) -> None:
        self.some.set()
        if event["event"] == "delta":
            last = self._events[-1] if self._events else None
            if not isinstance(last, _Text) or last.choice != event["choice"]:
                last = _Text(event["choice"])
                self._events.append(last)
            last.text.write(event["text"])
        elif self._others < MOST_EVENTS:
            self._others += 1
            self._events.append(event)
        else:
            self._dropped += 1

    def take(self) -> Event | None:
        """The next event; None where there is none."""
        if self._events:
            event = self._events.popleft()
            if isinstance(event, _Text):
                event = {"event": "delta", "choice": event.choice, "text": event.text.getvalue()}
            else:
                self._others -= 1
        elif self._dropped:
            event = {"event": "dropped", "events": self._dropped}
            self._dropped = 0
        else:
            event = None
        if not self:
            self.some.clear()
        return event
