"""Replies kept under their Idempotency-Key: a request that is sent again is answered, and not run again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import uuid4

import msgspec

from service.errors import ApiError
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.store.script import Script

LEASE_SECONDS: Final = 10.0
"""How long the key of a request is held for a replica that has fallen silent."""
RENEW_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.5
"""Between two tries to renew a lease while the store does not answer."""

FIRST_POLL: Final = 0.02
LAST_POLL: Final = 0.25
GROWTH: Final = 1.5

MOST_WAITING: Final = 256
MOST_WAITING_BYTES: Final = 256 * 2**20
"""Requests of one replica that wait for another's reply, and their bodies together, which are in memory."""
MOST_SENDING_BYTES: Final = 256 * 2**20
"""Kept replies, together, that one replica sends at a time to clients that may be slow to take them."""

CLAIM: Final = Script("""
local print = redis.call('HGET', KEYS[1], 'print')
if not print then
  redis.call('HSET', KEYS[1], 'print', ARGV[1], 'owner', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'mine'}
end
if print ~= ARGV[1] then return {'other'} end
local kept = redis.call('HMGET', KEYS[1], 'owner', 'head', 'body')
if kept[1] == ARGV[2] then return {'mine'} end
if kept[1] then return {'running'} end
return {'kept', kept[2], kept[3]}
""")
"""Takes a key for this request, unless another has it or its reply is kept."""

RENEW: Final = Script("""
local kept = redis.call('HMGET', KEYS[1], 'print', 'owner')
if not kept[1] then redis.call('HSET', KEYS[1], 'print', ARGV[1], 'owner', ARGV[2])
elseif kept[2] ~= ARGV[2] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")
"""Holds the key for longer, also where it has lapsed and nobody has taken it."""

KEEP: Final = Script("""
local kept = redis.call('HMGET', KEYS[1], 'print', 'owner')
if kept[1] and kept[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'print', ARGV[1], 'head', ARGV[3], 'body', ARGV[4])
redis.call('HDEL', KEYS[1], 'owner')
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
""")
"""Puts the reply in the place of its owner, who alone may."""

RELEASE: Final = Script("""
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
""")


class Head(msgspec.Struct, frozen=True):
    """A reply's status and headers."""

    status: int
    headers: list[tuple[str, str]]


class Reply(msgspec.Struct, frozen=True):
    """A reply that is kept, a stream's events included."""

    head: Head
    body: bytes


class Claim:
    """A key that this request holds, until its reply is kept or the key is released."""

    def __init__(self, store: Store, key: str, fingerprint: str, owner: str, seconds: int) -> None:
        self._store = store
        self._key = key
        self._print = fingerprint
        self._owner = owner
        self._seconds = seconds

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Renews the lease meanwhile."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def keep(self, reply: Reply) -> bool:
        """Keep the reply for `limits.idempotent_seconds`. False where the store fails, or another has the key."""
        head = msgspec.json.encode(reply.head)
        try:
            async with self._store.exchange() as redis:
                given = (self._print, self._owner, head, reply.body, self._seconds)
                return bool(await KEEP(redis, [self._key], *given))
        except StoreUnavailable:
            return False

    async def release(self) -> None:
        """Let the next request with this key run. Never raises: without the store the lease runs out."""
        try:
            async with self._store.exchange() as redis:
                await RELEASE(redis, [self._key], self._owner)
        except StoreUnavailable:
            return

    async def _renew(self) -> None:
        held, pause = True, RENEW_SECONDS
        while held:
            await asyncio.sleep(pause)
            try:
                async with self._store.exchange() as redis:
                    lease = int(LEASE_SECONDS * 1e3)
                    held = bool(await RENEW(redis, [self._key], self._print, self._owner, lease))
                pause = RENEW_SECONDS
            except StoreUnavailable:
                pause = RETRY_SECONDS


class Idempotency:
    """The keys of all replicas, in the store, apart for each tenant."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._waiting: list[int] = []
        self._sending = 0

    async def claim(self, tenant: str, key: str, fingerprint: str, size: int) -> Claim | Reply:
        """The key for this request to run under, or the reply that is kept; waits while another one runs.

        `fingerprint` tells requests that ask the same from others, `size` is the body's. Raises ApiError: 409 where
        another request has the key, 503 where the store does not answer or the other one takes too long.
        """
        name, owner = self._store.key("idempotency", tenant, key), uuid4().hex
        found = await self._try(name, fingerprint, owner)
        if found is not None:
            return found
        if len(self._waiting) >= MOST_WAITING or sum(self._waiting, size) > MOST_WAITING_BYTES:
            raise _in_flight(1)
        self._waiting.append(size)
        try:
            # A request's life: its body has arrived, and its run has so many seconds.
            async with asyncio.timeout(self._limits.seconds + LEASE_SECONDS):
                pause = FIRST_POLL
                while found is None:
                    await asyncio.sleep(pause)
                    pause = min(LAST_POLL, pause * GROWTH)
                    found = await self._try(name, fingerprint, owner)
                return found
        except TimeoutError as late:
            raise _in_flight(5) from late
        finally:
            self._waiting.remove(size)

    @contextmanager
    def sending(self, reply: Reply) -> Generator[None]:
        """A block in which a kept reply is in memory. Raises ApiError 429 where there are too many."""
        size = len(reply.body)
        if self._sending + size > MOST_SENDING_BYTES:
            message = "This replica sends as many kept replies as it can hold. Send this request again later."
            raise ApiError(429, "overloaded", message, param="Idempotency-Key", retry_after=1)
        self._sending += size
        try:
            yield
        finally:
            self._sending -= size

    async def _try(self, name: str, fingerprint: str, owner: str) -> Claim | Reply | None:
        async with self._store.exchange() as redis:
            said, *kept = await CLAIM(redis, [name], fingerprint, owner, int(LEASE_SECONDS * 1e3))
        if said == b"mine":
            return Claim(self._store, name, fingerprint, owner, self._limits.idempotent_seconds)
        if said == b"other":
            message = (
                "This Idempotency-Key came with another request before: its route, body or X-Aliquot-Scaling differs. "
                "Send a new key with a new request."
            )
            raise ApiError(409, "idempotency_conflict", message, param="Idempotency-Key")
        if said == b"running":
            return None
        head, body = kept
        return Reply(msgspec.json.decode(head, type=Head), body)


def _in_flight(seconds: int) -> ApiError:
    message = "The request that has this Idempotency-Key is still being answered. Send this one again later."
    return ApiError(503, "idempotency_in_flight", message, param="Idempotency-Key", retry_after=seconds)
