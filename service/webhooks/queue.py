"""Events that are to be told: kept in the store until they are, by any replica, in pauses that grow."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

import msgspec

from service.errors import ApiError
from service.jobs.views import JobView
from service.logs import logger
from service.store.client import Store, StoreUnavailable
from service.store.script import Script
from service.webhook_settings import WebhooksConfig
from service.webhooks.addresses import check_webhook
from service.webhooks.sender import AT_ONCE, NO_ANSWER, Sender

KEPT_SECONDS: Final = 86_400
"""How long an event is known: what is not told by then is told no more, and what is told is not told again."""
LEASE_MS: Final = 60_000
"""What one replica has to post an event, before another takes it."""
PAUSES: Final = (10.0, 60.0, 600.0, 3600.0)
"""Seconds between the tries."""
REST: Final = 5.0
MOST_REST: Final = 600.0
"""How long a host has peace that has failed once, twice as long each time, and at most."""
PER_HOST: Final = 4
BUSY: Final = 0.5
"""Posts to one host at a time, and how long the next one waits."""
LOOK: Final = 0.5
"""Seconds between looks for events that another replica has put, or that are due again."""
AGAIN: Final = (408, 425, 429)
"""Answers after which another try may go better; so may it after 5xx."""

_COMMON: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local DUE = KEYS[1] .. ':webhooks:due'
local function event(id) return KEYS[1] .. ':webhook:' .. id end
"""
PUT: Final = Script(
    _COMMON
    + f"""
if redis.call('EXISTS', event(ARGV[1])) == 1 then return 0 end
redis.call('HSET', event(ARGV[1]), 'url', ARGV[2], 'body', ARGV[3], 'tries', 0)
redis.call('EXPIRE', event(ARGV[1]), {KEPT_SECONDS})
redis.call('ZADD', DUE, now, ARGV[1])
return 1
"""
)
"""Keeps an event to be told, once."""
TAKE: Final = Script(
    _COMMON
    + f"""
local taken = {{}}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local url, body, tries = unpack(redis.call('HMGET', event(id), 'url', 'body', 'tries'))
  if body then
    redis.call('ZADD', DUE, now + {LEASE_MS}, id)
    taken[#taken + 1] = {{id, url, body, tonumber(tries)}}
  else
    redis.call('ZREM', DUE, id)
  end
end
return taken
"""
)
"""Events that are due, for this replica to post alone for a while."""
LATER: Final = Script(
    _COMMON
    + """
if redis.call('EXISTS', event(ARGV[1])) == 0 then return 0 end
redis.call('HSET', event(ARGV[1]), 'tries', ARGV[2])
redis.call('ZADD', DUE, now + ARGV[3], ARGV[1])
return 1
"""
)
"""Has an event that was tried so often told in so many milliseconds."""


class _Host:
    """How a host takes what is posted to it, as this replica knows; there are as many as the operator lists."""

    def __init__(self) -> None:
        self.posting = 0
        self._failures = 0
        self._rests_until = 0.0

    def peace(self) -> float:
        """Seconds for which nothing is to be posted; 0 for none."""
        if self.posting >= PER_HOST:
            return BUSY
        return max(0.0, self._rests_until - time.monotonic())

    def answered(self, well: bool) -> None:
        if well:
            self._failures = 0
        else:
            self._rests_until = time.monotonic() + min(MOST_REST, REST * 2**self._failures)
            self._failures = min(16, self._failures + 1)


class Webhooks:
    """Events of all replicas. Each is posted until it is taken, up to `tries` times, at least once under one id."""

    def __init__(self, store: Store, config: WebhooksConfig) -> None:
        self._store = store
        self._config = config
        self._sender = Sender(config)
        self._root = [store.key()]
        self._wake = asyncio.Event()
        self._posting: dict[asyncio.Task[None], _Host] = {}
        self._hosts: dict[str, _Host] = {}
        self._loop: asyncio.Task[None] | None = None

    def check(self, url: str) -> None:
        """Raises ApiError where events cannot be told to `url`."""
        check_webhook(self._config, url)

    def start(self) -> None:
        """Post what is due from now on, where any host may be told."""
        if self._config.hosts and self._loop is None:
            self._loop = asyncio.create_task(self._forever())

    async def close(self) -> None:
        """Leave what is not told to other replicas."""
        tasks = [*self._posting, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    async def job_ended(self, job: JobView) -> None:
        """Have the end of a job told, where its client asked for that. Raises StoreUnavailable."""
        if job.webhook:
            await self.tell(job.webhook, f"job.{job.status}", job.finished or 0, job.reply())

    async def tell(self, url: str, kind: str, created: int, data: dict[str, Any]) -> None:
        """Have the event told that something ended: once, however often it is asked for. Raises StoreUnavailable."""
        id = f"evt_{data['id']}_{kind.rpartition('.')[2]}"
        told = {"id": id, "object": "event", "type": kind, "created_at": created, "data": data}
        async with self._store.exchange() as redis:
            await PUT(redis, self._root, id, url, msgspec.json.encode(told))
        self._wake.set()

    async def _forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._begin()
            except StoreUnavailable:
                pass  # the store tells of its own failures
            except Exception as error:
                logger().error("bug", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    async def _begin(self) -> None:
        """Begin to post what is due, as far as there is room."""
        while (room := AT_ONCE - len(self._posting)) > 0:
            async with self._store.exchange() as redis:
                taken = await TAKE(redis, self._root, room)
            for id, url, body, tries in taken:
                await self._post(id.decode(), url.decode(), body, tries)
            if len(taken) < room:
                return

    async def _post(self, id: str, url: str, body: bytes, tries: int) -> None:
        try:
            address = check_webhook(self._config, url)
        except ApiError as refused:  # the configuration is another one by now
            await self._end(id, refused.code)
            return
        host = self._hosts.setdefault(address.authority, _Host())
        peace = host.peace()
        if peace > 0:
            await self._later(id, tries, peace)
            return

        async def work() -> None:
            with suppress(StoreUnavailable):  # told again once the lease has run out
                status, why = await self._sender.post(address, id, body)
                host.answered(status != NO_ANSWER and status < 500)
                if 200 <= status < 300:
                    await self._end(id)
                elif tries + 1 < self._config.tries and _passing(status):
                    await self._later(id, tries + 1, PAUSES[tries])
                else:
                    await self._end(id, why)

        host.posting += 1
        task = asyncio.create_task(work())
        self._posting[task] = host
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._posting.pop(task).posting -= 1
        self._wake.set()

    async def _later(self, id: str, tries: int, seconds: float) -> None:
        async with self._store.exchange() as redis:
            await LATER(redis, self._root, id, tries, round(seconds * 1e3))

    async def _end(self, id: str, why: str | None = None) -> None:
        """Tell an event no more; `why` nobody took it, if nobody did. That it was is known on for a while."""
        if why is not None:
            logger().warning("webhook_not_delivered", webhook_id=id, why=why)
        async with self._store.exchange() as redis:
            commands = redis.pipeline(transaction=True)
            commands.zrem(self._store.key("webhooks", "due"), id)
            commands.hdel(self._store.key("webhook", id), "body")
            await commands.execute()


def _passing(status: int) -> bool:
    return status >= 500 or status in (NO_ANSWER, *AGAIN)
