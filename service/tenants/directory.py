"""Who may ask: tenants and their keys, in the store alone."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

import msgspec

from service.errors import ApiError, undoable
from service.logs import logger
from service.store.client import Store
from service.store.script import Script
from service.tenants.keys import KEY_ID, KeyRecord, hash_secret, make_key, parse_key, same_secret
from service.tenants.tenant import NAME, Tenant

T = TypeVar("T")

MOST_TENANTS: Final = 10_000
MOST_KEYS: Final = 20_000
"""Of all tenants together."""
NOBODY: Final = KeyRecord("", hash_secret(""), 0)
"""Compared with where there is no such key, so that this takes as long."""

_OWNER: Final = """
local function owner(key)
  local read, kept = pcall(cjson.decode, key)
  return read and type(kept) == 'table' and type(kept.tenant) == 'string' and kept.tenant or nil
end
"""
IDENTIFY: Final = Script(
    _OWNER
    + """
local key = redis.call('HGET', KEYS[1], ARGV[1])
local name = key and owner(key)
return name and {key, redis.call('HGET', KEYS[2], name)}
"""
)
PUT: Final = Script("""
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
""")
ADD_KEY: Final = Script("""
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 'gone' end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 'kept'
""")
REMOVE: Final = Script(
    _OWNER
    + """
local kept, revoked = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #kept, 2 do
  if owner(kept[i + 1]) == ARGV[1] then revoked = revoked + redis.call('HDEL', KEYS[1], kept[i]) end
end
return {redis.call('HDEL', KEYS[2], ARGV[1]), revoked}
"""
)
"""Removes a tenant with its keys. What it has spent stays, for whoever bears its name next."""


class Directory:
    """Tenants by name, keys by id. All methods raise StoreUnavailable; a change holds for every replica at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.key("keys")
        self._tenants = store.key("tenants")

    async def identify(self, token: str) -> tuple[Tenant, str]:
        """The tenant that a key belongs to, and the key's id. Raises ApiError 401 for any other token."""
        parsed = parse_key(token)
        if parsed is None:
            raise invalid_key()
        id, secret = parsed
        key, kept = await self._run(IDENTIFY, [self._keys, self._tenants], id) or (None, None)
        record = (key and _read(key, KeyRecord)) or NOBODY
        tenant = _read(kept, Tenant) if kept else None
        if not same_secret(secret, record.hash) or tenant is None:
            raise invalid_key()
        return tenant, id

    async def tenant(self, name: str) -> Tenant | None:
        """The tenant of that name, None where there is none."""
        async with self._store.exchange() as redis:
            kept: Any = await redis.hget(self._tenants, name)
        return _read(kept, Tenant) if kept else None

    async def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        async with self._store.exchange() as redis:
            kept: Any = await redis.hgetall(self._tenants)
        found = [tenant for raw in kept.values() if (tenant := _read(raw, Tenant))]
        return sorted(found, key=lambda tenant: tenant.name)

    async def put(self, tenant: Tenant) -> None:
        """Keep a tenant, in place of the one of that name. Raises ApiError 422 where there are too many."""
        kept = await self._run(PUT, [self._tenants], tenant.name, msgspec.json.encode(tenant), MOST_TENANTS)
        if not kept:
            message = f"There are {MOST_TENANTS} tenants, and no more are kept. Remove one."
            raise undoable("too_many_tenants", message)

    async def remove(self, name: str) -> int:
        """Remove a tenant and revoke its keys: how many. Raises ApiError 404."""
        removed, revoked = await self._run(REMOVE, [self._keys, self._tenants], name)
        if not removed:
            raise tenant_not_found(name)
        return int(revoked)

    async def add_key(self, name: str, note: str) -> tuple[str, str, KeyRecord]:
        """Make a key for a tenant: its id, the key itself, which nothing tells again, and what is kept of it.

        Raises ApiError: 404 where there is no such tenant, 422 where there are too many keys.
        """
        id, hash, key = make_key()
        record = KeyRecord(name, hash, int(time.time()), note)
        given = (id, msgspec.json.encode(record), name, MOST_KEYS)
        answer = await self._run(ADD_KEY, [self._keys, self._tenants], *given)
        if answer == b"gone":
            raise tenant_not_found(name)
        if answer == b"full":
            message = f"There are {MOST_KEYS} keys, and no more are kept. Revoke those that nobody uses."
            raise undoable("too_many_keys", message)
        return id, key, record

    async def keys(self) -> list[tuple[str, KeyRecord]]:
        """All keys, by tenant, oldest first."""
        async with self._store.exchange() as redis:
            kept: Any = await redis.hgetall(self._keys)
        found = [(id.decode(), key) for id, raw in kept.items() if (key := _read(raw, KeyRecord))]
        return sorted(found, key=lambda key: (key[1].tenant, key[1].created, key[0]))

    async def revoke(self, id: str) -> None:
        """Let a key open nothing any more, from now on. Raises ApiError 404."""
        async with self._store.exchange() as redis:
            revoked: Any = await redis.hdel(self._keys, id)
        if not revoked:
            shown = repr(id) if KEY_ID.fullmatch(id) else "of that id"
            message = f"There is no key {shown}. `aliquot keys list` shows the ids."
            raise ApiError(404, "key_not_found", message, param="id")

    async def empty(self) -> bool:
        """Whether there is no key yet."""
        async with self._store.exchange() as redis:
            count: Any = await redis.hlen(self._keys)
        return not count

    async def _run(self, script: Script, keys: list[str], *arguments: Any) -> Any:
        async with self._store.exchange() as redis:
            return await script(redis, keys, *arguments)


def invalid_key() -> ApiError:
    """401: the same for no key, a malformed one, a wrong one and one that was revoked."""
    message = (
        "The API key is missing, wrong or revoked. Send `Authorization: Bearer KEY`, "
        "with a key from whoever runs the service."
    )
    return ApiError(401, "invalid_api_key", message)


def tenant_not_found(name: str) -> ApiError:
    shown = name if NAME.fullmatch(name) else "of that name"
    return ApiError(404, "tenant_not_found", f"There is no tenant {shown}. Create it first.", param="name")


def _read(kept: bytes, shape: type[T]) -> T | None:
    """What is kept, None where it cannot be read: it opens nothing then."""
    try:
        return msgspec.json.decode(kept, type=shape)
    except msgspec.MsgspecError:
        logger().warning("unreadable_record", what=shape.__name__)
        return None
