"""A Lua script, which the server runs as one step: named by its digest, and sent where the server does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

Value = str | bytes | int | float


class Script:
    """`source` is Lua; it may name keys of its own making, so that no Redis Cluster can run it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: Sequence[str], *arguments: Value) -> Any:
        from redis.exceptions import NoScriptError

        given = [*keys, *arguments]
        try:
            return await redis.evalsha(self._digest, len(keys), *given)
        except NoScriptError:
            return await redis.eval(self._source, len(keys), *given)
