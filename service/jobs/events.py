"""What happens in a job, as it happens: read from the store, whichever replica runs the job."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from service.errors import unreadable
from service.jobs.pace import Pace
from service.jobs.store import JobStore
from service.store.client import StoreUnavailable

AT_ONCE: Final = 100
"""Events read in one exchange."""
START: Final = "0-0"

_EVENT_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


class Event(NamedTuple):
    """An event's id, by which a listener goes on behind it, and its JSON."""

    id: str
    data: bytes


def check_event_id(given: str | None) -> str:
    """The id of an event that a client has seen last. Raises ApiError 400."""
    if given is None:
        return START
    found = _EVENT_ID.fullmatch(given)
    if not found or max(map(int, found.groups())) >= 2**64 - 1:  # behind the greatest id Redis looks for none
        raise unreadable(
            "Last-Event-ID is no id of an event. Send the last that came, or none.", "Last-Event-ID"
        )
    return given


async def listen(jobs: JobStore, id: str, after: str, pace: Pace) -> AsyncGenerator[Event | None]:
    """A job's events behind `after`, as they come, to its end; None where none came for `pace.beat` seconds.

    While the store does not answer there are none; they come when it does.
    """
    spoke = time.monotonic()
    while True:
        try:
            ended, found = await jobs.events(id, after, AT_ONCE)
        except StoreUnavailable:
            ended, found = False, []
        for event, data in found:
            yield Event(event, data)
            after = event
        if ended and not found:
            return
        if found:
            spoke = time.monotonic()
            continue
        if time.monotonic() >= spoke + pace.beat:
            spoke = time.monotonic()
            yield None
        await asyncio.sleep(pace.poll)
