"""uvicorn around the application, and how it ends without losing a request."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn

from service.app import create_app
from service.connection import Connection, connections
from service.draining import BACKLOG_SECONDS, LINGER_SECONDS, take_no_more
from service.settings import Settings
from service.world import World

KEEP_ALIVE_SECONDS: Final = 5
"""How long an idle connection is kept. Longer than load balancers keep theirs, so that it is they who close first."""


class Server(uvicorn.Server):
    """Serves `world` on the sockets that `serve` is given; `welcome` is told the first one's address once it listens.

    `stop` ends it in steps. Jobs are handed back. For `settings.serves_on` seconds it is not ready, but answers new
    requests and asks for their connections to be closed: load balancers learn of its end meanwhile. Then nobody can
    connect any more, and requests under way have `settings.grace_seconds`; those that take longer get 503
    `shutting_down`.
    """

    def __init__(self, world: World, settings: Settings, welcome: Callable[[str, int], None]) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(world),
                http=connections(world.limits),
                log_config=None,
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                # Requests are ended before: this is for what does not heed it.
                timeout_graceful_shutdown=math.ceil(settings.grace_seconds) + 1,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
            )
        )
        self._world = world
        self._settings = settings
        self._welcome = welcome
        self._stopping: asyncio.Task[None] | None = None

    @property
    def stopping(self) -> bool:
        return self._stopping is not None

    def stop(self) -> None:
        """Begin to end; where that has begun, end at once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._drain())
            return
        self._stopping.cancel()
        self.should_exit = self.force_exit = True
        self._world.admission.cut()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals to who calls `stop`: uvicorn raises them again at its end, before the engines have stopped."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._welcome(*sockets[0].getsockname()[:2])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._settings.serves_on and not self.force_exit:
            for listener in sockets or ():
                take_no_more(listener)
            await self._last_requests()
        loop = asyncio.get_running_loop()
        cutting = loop.call_later(self._settings.grace_seconds, self._world.admission.cut)
        await super().shutdown(sockets)
        cutting.cancel()

    async def _last_requests(self) -> None:
        """Wait, not for long, until every connection has sent a request: uvicorn closes those that have not."""
        await asyncio.sleep(BACKLOG_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while any(isinstance(c, Connection) and c.is_new for c in self.server_state.connections):
                    await asyncio.sleep(BACKLOG_SECONDS / 10)

    async def _drain(self) -> None:
        self._world.draining.begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._world.jobs.drain())
                await asyncio.sleep(self._settings.serves_on)
        finally:
            self.should_exit = True
