"""Replicas of one model as one engine: each prompt has its home, failing replicas are passed over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

from engines.base import (
    Call,
    Chunk,
    Engine,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    Generation,
    Message,
    Usage,
)
from engines.ejection import Standing
from engines.failures import policy, told
from engines.remainder import Remainder

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """A replica's account: whether it is in service, how often it was ejected, and how many calls went elsewhere."""

    name: str
    in_service: bool
    ejections: int
    repeated: int


class _Replica:
    """An engine of the pool. Many may ask at once whether it answers: it is asked once."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.standing = Standing()
        self.repeated = 0
        self._key = blake2b(name.encode(), digest_size=16).digest()
        self._asked: asyncio.Task[bool] | None = None

    def weight(self, home: bytes) -> bytes:
        return blake2b(home, key=self._key, digest_size=8).digest()

    async def answers(self) -> bool:
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self.engine.ready(), context=Context())
        return await asyncio.shield(self._asked)

    async def check(self) -> None:
        """Raise EngineUnavailable where it does not answer: sooner than a call would find out."""
        if not await self.answers():
            raise EngineUnavailable("The engine does not answer.")

    async def close(self) -> None:
        if self._asked:
            self._asked.cancel()
        await self.engine.close()


@dataclass(slots=True)
class _Way:
    """One call's way over the replicas: those it may still go to, those of them that answer, and what it met.

    `home` stands for what it shares with its siblings. A call that `generates` shows whether a replica works.
    """

    home: bytes
    generates: bool
    left: list[_Replica]
    answering: list[_Replica] = field(default_factory=list)
    failures: list[EngineError] = field(default_factory=list)
    last: _Replica | None = None


class Pool:
    """Engines that serve the same model, by name (their address, say).

    A call goes to the replica whose name hashes highest with the call's `affinity` (rendezvous hashing, Thaler and
    Ravishankar 1998), so that every call of one prompt meets the same warm prefix cache, and a replica that leaves
    or joins moves only its own share.

    A replica that fails is ejected (see `Standing`), and its call is repeated on another that says it is alive: one in
    service, or else any. All are asked that at once, so that a call soon learns that none is. A stream that breaks is
    repeated for the samples that had not finished.

    The caller sees one call and is charged for one: for what reached it. What a failed attempt generated, and nobody
    got, is no part of that, however often a call is repeated: it is what a broken replica costs who runs it. A call
    that fails for good says (`began`) whether one attempt may have generated something; its caller then charges it as
    if it had, once.
    """

    def __init__(self, replicas: Mapping[str, Engine], clock: Callable[[], float] = time.monotonic) -> None:
        if not replicas:
            raise ValueError("a pool needs at least one replica")
        self._replicas = [_Replica(name, engine) for name, engine in replicas.items()]
        self._clock = clock

    @property
    def model(self) -> str:
        return self._replicas[0].engine.model

    @property
    def facts(self) -> list[ReplicaFacts]:
        """The account of each replica."""
        return [
            ReplicaFacts(r.name, not r.standing.out, r.standing.ejections, r.repeated) for r in self._replicas
        ]

    async def context_length(self) -> int:
        return await self._ask(b"", lambda engine: engine.context_length())

    async def tokenize(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        home = repr(messages).encode(errors="surrogatepass")
        return await self._ask(home, lambda engine: engine.tokenize(messages, tools=tools, template=template))

    async def sample(self, call: Call) -> Generation:
        return await self._ask(call.affinity, lambda engine: engine.sample(call), generates=True)

    async def stream(self, call: Call) -> AsyncGenerator[Chunk | Usage]:
        way = self._way(call.affinity, generates=True)
        remainder = Remainder(call)
        while remainder.missing:
            replica = await self._next(way)
            unproven = replica.standing.out
            with self._attempt(replica, way) as trial:
                if trial:
                    await replica.check()
                async with aclosing(replica.engine.stream(remainder.call)) as chunks:
                    async for chunk in chunks:
                        if unproven:  # it generates: that will do, and the end may be far
                            replica.standing.succeed()
                            unproven = False
                        yield remainder.passed(chunk)
                return
            remainder.restart()

    async def ready(self) -> bool:
        asked = [asyncio.ensure_future(replica.answers()) for replica in self._replicas]
        try:
            for first in asyncio.as_completed(asked):
                if await first:
                    return True
        finally:
            for asking in asked:
                asking.cancel()
        return False

    async def close(self) -> None:
        for replica in self._replicas:
            await replica.close()

    def order(self, affinity: bytes) -> list[str]:
        """Replicas by how high they hash with `affinity`."""
        return [replica.name for replica in _ranked(self._replicas, _home(affinity))]

    def _way(self, affinity: bytes, *, generates: bool = False) -> _Way:
        return _Way(_home(affinity) if len(self._replicas) > 1 else b"", generates, list(self._replicas))

    async def _ask(
        self, affinity: bytes, ask: Callable[[Engine], Awaitable[T]], *, generates: bool = False
    ) -> T:
        way = self._way(affinity, generates=generates)
        while True:
            replica = await self._next(way)
            with self._attempt(replica, way) as trial:
                if trial:
                    await replica.check()
                return await ask(replica.engine)

    async def _next(self, way: _Way) -> _Replica:
        """Where a call goes next. Raises what it met, where no replica is left that says it is alive."""
        if way.last is None and (first := self._first(way)):
            way.left.remove(first)
            way.last = first
            return first
        while way.left and not way.answering:
            tier = [replica for replica in way.left if not replica.standing.out] or way.left
            way.left = [replica for replica in way.left if replica not in tier]
            answers = await asyncio.gather(*(replica.answers() for replica in tier))
            for replica, answer in zip(tier, answers, strict=True):
                if answer:
                    way.answering.append(replica)
                elif not replica.standing.out:
                    replica.standing.fail(self._clock())
            way.answering = _ranked(way.answering, way.home)
        if not way.answering:
            unasked = EngineUnavailable(f"No engine of {self.model} answers.")
            raise told(way.failures) if way.failures else unasked
        if way.last is not None:
            way.last.repeated += 1
        way.last = way.answering.pop(0)
        return way.last

    def _first(self, way: _Way) -> _Replica | None:
        """The best of those in service and, for a call that shows whether a replica works, of those due for a trial."""
        now = self._clock()
        able = [
            replica
            for replica in self._replicas
            if not replica.standing.out or (way.generates and replica.standing.due(now))
        ]
        return _ranked(able, way.home)[0] if able else None

    @contextmanager
    def _attempt(self, replica: _Replica, way: _Way) -> Generator[bool]:
        """A call of `replica`, and whether it is its trial. What fails and may be repeated is noted, and not raised."""
        standing = replica.standing
        out = standing.out
        trial = out and way.generates and standing.due(self._clock())
        if trial:
            standing.try_out()
        try:
            yield trial
        except EngineError as error:
            way.failures.append(error)
            if not isinstance(error, EngineRefused):
                standing.fail(self._clock())
            elif out and way.generates:
                standing.succeed()
            if policy(way.failures) == "give_up":
                raise told(way.failures) from None
        except BaseException:
            if trial:
                standing.give_up_trial()
            raise
        else:
            if out and way.generates:
                standing.succeed()


def _home(affinity: bytes) -> bytes:
    """What stands for `affinity`, which may be as long as a prompt."""
    return blake2b(affinity, digest_size=16).digest()


def _ranked(replicas: Sequence[_Replica], home: bytes) -> list[_Replica]:
    if len(replicas) < 2:
        return list(replicas)
    return sorted(replicas, key=lambda replica: replica.weight(home), reverse=True)
