"""Files that batches are made of, in Redis for a day; what came of a batch is told as files too, and kept nowhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import quote
from uuid import uuid4

import msgspec

from service.batches.multipart import Upload
from service.errors import ApiError
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.store.script import Script

PART_BYTES: Final = 2**20
"""Of a file, written and read in one exchange."""
UNMADE_SECONDS: Final = 600
"""How long parts are kept without their file, where what writes them dies."""
FIELDS: Final = ("tenant", "filename", "bytes", "created")
BUSY_SECONDS: Final = 60

_COMMON: Final = """
local time = redis.call('TIME')
local function file(id) return KEYS[1] .. ':file:' .. id end
local function of(tenant) return KEYS[1] .. ':files:of:' .. tenant end
"""
CREATE: Final = Script(
    _COMMON
    + """
local id, list, tenant, filename, bytes, most, seconds, parts = unpack(ARGV)
if redis.call('EXISTS', file(id)) == 1 then return 'kept' end
redis.call('ZREMRANGEBYSCORE', of(list), '-inf', time[1] - seconds)
if redis.call('ZCARD', of(list)) >= tonumber(most) then return 'full' end
if redis.call('LLEN', file(id) .. ':parts') ~= tonumber(parts) then return 'gone' end
redis.call('HSET', file(id), 'tenant', tenant, 'filename', filename, 'bytes', bytes, 'created', time[1])
redis.call('ZADD', of(list), time[1], id)
for _, key in ipairs({file(id), file(id) .. ':parts', of(list)}) do redis.call('EXPIRE', key, seconds) end
return 'kept'
"""
)
"""Makes a file of parts that were written before: `kept`; `full` where the tenant has too many; `gone` where they are
not there."""
PAGE: Final = Script(
    _COMMON
    + """
redis.call('ZREMRANGEBYSCORE', of(ARGV[1]), '-inf', time[1] - ARGV[2])
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', of(ARGV[1]), 0, -1)) do
  found[#found + 1] = {id, redis.call('HMGET', file(id), unpack(ARGV, 3))}
end
return found
"""
)
"""A tenant's files, the newest first."""

Kind = Literal["output", "errors"]

_RESULT = re.compile(r"file-(batch_[0-9a-f]{32})-(output|errors)")


class FileView(msgspec.Struct, frozen=True):
    """A file. `created` is in seconds since 1970."""

    id: str
    filename: str
    bytes: int
    created: int

    def reply(self) -> dict[str, Any]:
        """OpenAI's file."""
        told = {"id": self.id, "object": "file", "bytes": self.bytes, "created_at": self.created}
        return told | {"filename": self.filename, "purpose": "batch", "status": "processed"}


class ResultFile(NamedTuple):
    """What came of a batch: the lines that were answered, or those that were not."""

    batch: str
    kind: Kind


def result_file(batch: str, kind: Kind) -> str:
    """The id of that file."""
    return f"file-{batch}-{kind}"


def as_result(id: str) -> ResultFile | None:
    """Which result the id names, if any."""
    found = _RESULT.fullmatch(id)
    return ResultFile(found[1], cast(Kind, found[2])) if found else None


class Files:
    """Uploaded files of all replicas. Raises StoreUnavailable where the store does not answer."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._root = [store.key()]

    async def create(self, tenant: str, upload: Upload) -> FileView:
        """Keep a file for `limits.file_seconds`. Raises ApiError 429 where the tenant has too many."""
        id, content = f"file-{uuid4().hex}", upload.content
        starts = range(0, max(1, len(content)), PART_BYTES)
        for at in starts:
            async with self._store.exchange() as redis:
                commands = redis.pipeline(transaction=True)
                commands.rpush(self._key(id, "parts"), content[at : at + PART_BYTES])
                commands.expire(self._key(id, "parts"), UNMADE_SECONDS)
                await commands.execute()
        most, seconds = self._limits.files, self._limits.file_seconds
        given = (
            id,
            quote(tenant, safe=""),
            tenant,
            upload.filename,
            len(content),
            most,
            seconds,
            len(starts),
        )
        answer = await self._run(CREATE, *given)
        if answer == b"kept":
            return await self.view(tenant, id)
        await self._forget(id)
        if answer == b"gone":  # a part was written twice, where a connection broke, or is lost
            raise StoreUnavailable
        message = f"You have {most} files, and no more are kept. Delete one."
        raise ApiError(429, "too_many_files", message, retry_after=BUSY_SECONDS)

    async def view(self, tenant: str, id: str, param: str = "id") -> FileView:
        """A tenant's file. Raises ApiError 404."""
        async with self._store.exchange() as redis:
            values = await cast(Any, redis.hmget(self._key(id), FIELDS))
        if values[0] is None or values[0].decode() != tenant:
            raise file_not_found(id, param)
        return _view(id, values)

    async def content(self, tenant: str, id: str, param: str = "id") -> bytes:
        """What is in a tenant's file. Raises ApiError 404."""
        file = await self.view(tenant, id, param)
        content = bytearray()
        for at in range(0, max(1, file.bytes), PART_BYTES):
            async with self._store.exchange() as redis:
                part = await cast(Any, redis.lindex(self._key(id, "parts"), at // PART_BYTES))
            if part is None:
                raise file_not_found(id, param)
            content += part
        return bytes(content)

    async def page(self, tenant: str) -> list[FileView]:
        """A tenant's files, newest first: no more than it may have."""
        found = await self._run(PAGE, quote(tenant, safe=""), self._limits.file_seconds, *FIELDS)
        return [_view(id.decode(), values) for id, values in found if values[0] is not None]

    async def delete(self, tenant: str, id: str) -> None:
        """Forget a tenant's file. Raises ApiError 404."""
        await self.view(tenant, id)
        await self._forget(id)
        async with self._store.exchange() as redis:
            await redis.zrem(self._store.key("files", "of", tenant), id)

    async def _forget(self, id: str) -> None:
        async with self._store.exchange() as redis:
            await redis.delete(self._key(id), self._key(id, "parts"))

    def _key(self, id: str, *parts: str) -> str:
        return self._store.key("file", id, *parts)

    async def _run(self, script: Script, *arguments: str | int) -> Any:
        async with self._store.exchange() as redis:
            return await script(redis, self._root, *arguments)


def file_not_found(id: str, param: str = "id") -> ApiError:
    """404, for another tenant's file as for one that there never was."""
    message = (
        f"There is no file {id[:100]!r}, or it is older than limits.file_seconds. GET /v1/files lists yours."
    )
    return ApiError(404, "file_not_found", message, param=param)


def _view(id: str, values: Sequence[bytes]) -> FileView:
    return FileView(id, values[1].decode(), int(values[2]), int(values[3]))
