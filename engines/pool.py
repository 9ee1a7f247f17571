"""Replicas of one model as one engine: each prompt has its home, failing replicas are passed over."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar

from engines.base import Call, Chunk, Engine, EngineError, EngineUnavailable, Generation, Message, Usage
from engines.failures import policy

REST_SECONDS = 5.0
"""How long a replica that failed is asked last."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Replica:
    name: str
    engine: Engine
    resting_until: float = 0.0

    def weight(self, affinity: bytes) -> bytes:
        return blake2b(affinity, key=self.name.encode()[:64], digest_size=8).digest()


class Pool:
    """Engines that serve the same model, by name (their address, say).

    A call goes to the replica whose name hashes highest with the call's `affinity` (rendezvous hashing, Thaler and
    Ravishankar 1998), so that every call of one prompt meets the same warm prefix cache, and a replica that leaves
    or joins moves only its own share. A failed call is repeated on the next replica; the caller sees one call.
    """

    def __init__(self, replicas: Mapping[str, Engine], clock: Callable[[], float] = time.monotonic) -> None:
        if not replicas:
            raise ValueError("a pool needs at least one replica")
        self._replicas = [_Replica(name, engine) for name, engine in replicas.items()]
        self._clock = clock

    @property
    def model(self) -> str:
        return self._replicas[0].engine.model

    def order(self, affinity: bytes) -> list[str]:
        """Replicas in the order in which they would be asked."""
        return [replica.name for replica in self._order(affinity)]

    def _order(self, affinity: bytes) -> list[_Replica]:
        if len(self._replicas) == 1:
            return self._replicas
        now = self._clock()
        ranked = sorted(self._replicas, key=lambda replica: replica.weight(affinity), reverse=True)
        return sorted(ranked, key=lambda replica: replica.resting_until > now)

    async def _try_each(self, affinity: bytes, ask: Callable[[Engine], Awaitable[T]]) -> T:
        last: EngineError = EngineUnavailable("No engine answers.")
        for replica in self._order(affinity):
            try:
                return await ask(replica.engine)
            except EngineError as error:
                if policy(error, began=False) == "give_up":
                    raise
                last = self._rest(replica, error)
        raise last

    def _rest(self, replica: _Replica, error: EngineError) -> EngineError:
        replica.resting_until = self._clock() + REST_SECONDS
        return error

    async def context_length(self) -> int:
        return await self._try_each(b"", lambda engine: engine.context_length())

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        home = repr(messages).encode(errors="surrogatepass")
        return await self._try_each(
            home, lambda engine: engine.tokenize(messages, tools=tools, template=template)
        )

    async def sample(self, call: Call) -> Generation:
        return await self._try_each(call.affinity, lambda engine: engine.sample(call))

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        last: EngineError = EngineUnavailable("No engine answers.")
        for replica in self._order(call.affinity):
            began = False
            try:
                async with aclosing(replica.engine.stream(call)) as chunks:
                    async for chunk in chunks:
                        began = True
                        yield chunk
                return
            except EngineError as error:
                last = self._rest(replica, error)
                if policy(error, began=began) == "give_up":
                    raise
        raise last

    async def ready(self) -> bool:
        for replica in self._order(b""):
            if await replica.engine.ready():
                return True
        return False

    async def close(self) -> None:
        for replica in self._replicas:
            await replica.engine.close()
