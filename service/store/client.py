"""The store's client: keys under a prefix, short timeouts, and every failure as one error of the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from service.errors import RETRY_AFTER_SECONDS, ApiError
from service.logs import logger
from service.settings import Settings
from service.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from redis.asyncio import Redis

VERSION: Final = "1"
"""Of what is kept: another meaning of a key gets another number, and what older services keep stays theirs."""

SECONDS: Final = 2.0
"""What one exchange with the store may take, connecting and waiting for a connection included."""
COOLING_SECONDS: Final = 1.0
"""After a failure the store counts as down for so long, so that no request waits for it in turn."""
MOST_CONNECTIONS: Final = 64
QUIET_SECONDS: Final = 10.0
"""Between two lines in the log on the same trouble."""


class StoreUnavailable(ApiError):
    """503: the store does not answer, or `refuses` what it was asked for. `began`: it may have done that."""

    def __init__(self, *, refuses: bool = False, began: bool = False) -> None:
        message = "The store does not answer. Try again shortly; `aliquot doctor` and /readyz say whether it is back."
        if refuses:
            message = (
                "The store answers and refuses this: it is full, takes no writes, or holds another kind of value under "
                "a key of ours. `store_unavailable` in the service's log says which; mend that, and try again."
            )
        super().__init__(503, "store_unavailable", message, retry_after=RETRY_AFTER_SECONDS)
        self.began = began


class Store:
    """A Redis of version 6.2 or newer, or a Valkey: ALIQUOT_REDIS_URL's, else a server of our own in ALIQUOT_DATA_DIR.

    redis-py is imported behind the start: it takes a while, and few requests need the store at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url.get_secret_value() if settings.redis_url else None
        self._prefix = settings.redis_prefix
        self._server = EmbeddedServer(settings.data_dir, settings.log_folder)
        self._client: asyncio.Task[Redis] | None = None
        self._down_until = 0.0
        self._quiet_until = 0.0

    async def start(self) -> None:
        """Start the server, where it is ours. Raises SettingsError where that cannot be done."""
        if not self._url:
            await self._server.start()
        self._client = asyncio.create_task(self._connected())

    async def stop(self) -> None:
        """Close the connections, and end the server where it is ours."""
        if self._client:
            with suppress(Exception):
                await (await self._client).aclose()
            self._client = None
        await self._server.stop()

    def key(self, *parts: str) -> str:
        """The key of `parts`, each encoded, so that no part reaches into another's keys."""
        return ":".join([self._prefix, VERSION, *(quote(part, safe="") for part in parts)])

    @asynccontextmanager
    async def exchange(self) -> AsyncGenerator[Redis]:
        """The client, for what takes one short exchange. Raises StoreUnavailable, within `SECONDS`."""
        if self._client is None or time.monotonic() < self._down_until:
            raise StoreUnavailable
        # Loading redis-py is no fault of the store's, and takes longer where the machine is busy.
        client = await asyncio.shield(self._client)
        from redis.exceptions import RedisError, ResponseError

        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(SECONDS):
                yield client
        except (RedisError, OSError, TimeoutError) as error:
            answered = isinstance(error, ResponseError)
            self._failed(error, answered)
            raise StoreUnavailable(refuses=answered, began=not answered) from error
        finally:
            # Before Python 3.12 asyncio.wait_for, which redis-py waits in, now and then swallows a cancellation.
            if task and task.cancelling() > cancelled:
                raise asyncio.CancelledError

    async def answers(self) -> bool:
        """Whether the store answers."""
        try:
            async with self.exchange() as redis:
                await redis.ping()
        except StoreUnavailable:
            return False
        return True

    def _failed(self, error: Exception, answered: bool) -> None:
        """Say it in the log, now and then; redis-py's words hold no password. One that is full still answers."""
        now = time.monotonic()
        if not answered:
            self._down_until = now + COOLING_SECONDS
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            logger().error("store_unavailable", why=f"{type(error).__name__}: {error}"[:300])

    async def _connected(self) -> Redis:
        """The client; it connects when it is first used."""
        return await asyncio.to_thread(_client, self._url or f"unix://{self._server.socket}")


def _client(url: str) -> Redis:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        timeout=SECONDS,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        # Once: for connections that a restart of the server has closed.
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)
