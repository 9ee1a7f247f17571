"""Jobs in Redis: each method is one short exchange, and raises StoreUnavailable where that fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import quote
from uuid import uuid4

import msgspec

from service.errors import ApiError
from service.jobs import scripts
from service.jobs.views import FIELDS, JobView, Priority, Status, job_not_found, read_view
from service.settings import Limits
from service.store.client import Store
from service.store.script import Script

BUSY_SECONDS: Final = 10
"""When to come again where too many jobs wait."""
MOST_TELLINGS: Final = 5
"""How often hooks are called of an ended job, where they fail or their replica dies."""
AT_ONCE: Final = 20
"""Jobs whose hooks one replica takes over in one step."""
PAGE: Final = 64
"""Lines of a journal that are read in one exchange."""

State = Literal["held", "lost", "cancelled"]
Mark = Literal["", "fruitful", "failed", "retried"]
"""What a record says of its attempt: that it got on, that a call failed, that failed calls are made again."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Held(msgspec.Struct, frozen=True):
    """A job that was taken, by the `holder` that its writes name. `fruitless` attempts, this one included, have been
    begun since its journal last grew; `taken_over`: its last worker did not give it back."""

    id: str
    holder: str
    tenant: str
    attempt: int
    fruitless: int
    taken_over: bool


class Kept(NamedTuple):
    """What an ended or running job has: its request, and its journal's lines."""

    request: bytes
    lines: list[bytes]


class JobStore:
    """What `Jobs` and its worker ask of Redis."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._root = [store.key()]

    async def submit(
        self, tenant: str, id: str, request: bytes, *, model: str, webhook: str | None, priority: Priority
    ) -> JobView:
        """Keep a job and queue it; the tenant's own of that id stays as it is. Raises ApiError 429: too many wait."""
        if not _ID.fullmatch(id):
            raise ValueError("a job's id has 1 to 128 letters, digits, _ and -")
        most = self._limits.jobs_waiting
        given = (id, quote(tenant, safe=""), tenant, priority, model, webhook or "", most, request, *FIELDS)
        answer = await self._run(scripts.SUBMIT, *given)
        if answer == b"full":
            message = (
                f"{most} jobs wait, and no more are taken. Try again later, or raise limits.jobs_waiting."
            )
            raise ApiError(429, "too_many_jobs", message, retry_after=BUSY_SECONDS)
        if answer == b"taken":
            raise job_not_found(id)
        return read_view(id, answer)

    async def view(self, tenant: str, id: str) -> JobView:
        """A tenant's job. Raises ApiError 404."""
        async with self._store.exchange() as redis:
            values = await cast(Any, redis.hmget(self._key(id), *FIELDS))
        return _owned(tenant, id, values)

    async def whole(self, tenant: str, id: str) -> tuple[JobView, bytes | None]:
        """A tenant's job, and its result once it has one. Raises ApiError 404."""
        async with self._store.exchange() as redis:
            commands = redis.pipeline(transaction=True)
            commands.hmget(self._key(id), *FIELDS)
            commands.get(self._key(id, "result"))
            values, result = await commands.execute()
        return _owned(tenant, id, values), cast("bytes | None", result)

    async def page(self, tenant: str, after: str | None, limit: int) -> tuple[list[JobView], bool]:
        """A tenant's jobs, newest first, from behind `after` on, and whether there are more. Raises ApiError 404."""
        list_of = quote(tenant, safe="")
        found = await self._run(scripts.PAGE, list_of, after or "", limit + 1, *FIELDS)
        if found is None:
            raise job_not_found(after or "", "after")
        views = [read_view(id.decode(), values) for id, values in found[:limit] if values[0] is not None]
        return views, len(found) > limit

    async def cancel(self, tenant: str, id: str) -> bool:
        """End a tenant's job as cancelled; False where it had ended. Raises ApiError 404."""
        answer = await self._run(scripts.CANCEL, _safe(id), tenant, self._limits.job_seconds)
        if answer == b"missing":
            raise job_not_found(id)
        return bool(answer == b"cancelled")

    async def events(self, id: str, after: str, most: int) -> tuple[bool, list[tuple[str, bytes]]]:
        """Whether the job had ended, and its events behind the id `after`: each one's id and JSON."""
        async with self._store.exchange() as redis:
            commands = redis.pipeline(transaction=True)
            commands.hget(self._key(id), "status")
            commands.xrange(self._key(id, "events"), f"({after}", "+", most)
            status, found = await commands.execute()
        ended = status not in (b"queued", b"running")
        return ended, [(event.decode(), fields[b"data"]) for event, fields in found]

    async def kept(self, id: str) -> Kept:
        """The request and the journal; read page by page. Raises ApiError 404 where it is not kept any more."""
        async with self._store.exchange() as redis:
            request = cast("bytes | None", await redis.get(self._key(id, "request")))
        if request is None:
            raise job_not_found(id)
        lines: list[bytes] = []
        while True:
            async with self._store.exchange() as redis:
                wanted = len(lines), len(lines) + PAGE - 1
                page = await cast(Any, redis.lrange(self._key(id, "journal"), *wanted))
            lines += page
            if len(page) < PAGE:
                return Kept(request, lines)

    async def take(self, lease_seconds: float) -> Held | None:
        """Take a job that nobody holds; None where there is none."""
        while True:
            found = await self._run(scripts.TAKE, uuid4().hex, round(lease_seconds * 1e3))
            if found is None:
                return None
            if len(found) > 1:
                id, holder, tenant, attempt, fruitless, status = found
                names = id.decode(), holder.decode(), tenant.decode()
                return Held(*names, int(attempt), int(fruitless), status == b"running")

    async def watch(self, held: Sequence[Held], *, renew: bool) -> tuple[int, list[State]]:
        """How many jobs wait, and how it stands with those that are held."""
        names: list[str] = [part for one in held for part in (one.id, one.holder)]
        waiting, states = await self._run(scripts.WATCH, int(renew), *names)
        return waiting, [state.decode() for state in states]

    async def append(
        self, held: Held, index: int, record: bytes, mark: Mark, first: int, events: Sequence[bytes]
    ) -> bool:
        """Keep a record at `index` (none below 0) and publish events, `first` of which came before; False if lost."""
        given = (held.id, held.holder, index, record, mark, first)
        return bool(await self._run(scripts.APPEND, *given, *events) == b"kept")

    async def finish(self, held: Held, status: Status, error: bytes, result: bytes) -> bool:
        """End a job; False if lost."""
        given = (held.id, held.holder, status, error, result, self._limits.job_seconds)
        return bool(await self._run(scripts.FINISH, *given) == b"kept")

    async def give_up(
        self, held: Held, seconds: float | None, lease_seconds: float, *, counts: bool = True
    ) -> bool:
        """Let a job be taken again after so many seconds, or, with None, at once and ahead of others; False if lost.
        An attempt that does not count, and one given up with None, was not fruitless."""
        delay = -1 if seconds is None else round(seconds * 1e3)
        given = (held.id, held.holder, delay, round(lease_seconds * 1e3), int(counts and seconds is not None))
        return bool(await self._run(scripts.GIVE_UP, *given) == b"kept")

    async def untold(self) -> list[tuple[str, str]]:
        """Ended jobs whose hooks another replica was to call and has not: each one's tenant and id."""
        ids = [id.decode() for id in await self._run(scripts.UNTOLD, AT_ONCE, MOST_TELLINGS)]
        if not ids:
            return []
        async with self._store.exchange() as redis:
            commands = redis.pipeline(transaction=False)
            for id in ids:
                commands.hget(self._key(id), "tenant")
            tenants = await commands.execute()
        return [(tenant.decode(), id) for tenant, id in zip(tenants, ids, strict=True) if tenant]

    async def told(self, id: str) -> None:
        """The hooks of an ended job have been called."""
        async with self._store.exchange() as redis:
            await redis.zrem(self._store.key("jobs", "untold"), id)

    def _key(self, id: str, *parts: str) -> str:
        return self._store.key("job", id, *parts)

    async def _run(self, script: Script, *arguments: str | bytes | int) -> Any:
        async with self._store.exchange() as redis:
            return await script(redis, self._root, *arguments)


def _owned(tenant: str, id: str, values: Sequence[bytes | None]) -> JobView:
    if values[0] is None or values[0].decode() != tenant:
        raise job_not_found(id)
    return read_view(id, values)


def _safe(id: str) -> str:
    """An id that a client gave, as it may stand in a key."""
    return quote(id, safe="")
