"""Posting events: signed, in bounded time, and to addresses that were checked."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

import aiohttp
from yarl import URL

from service.webhook_settings import WebhooksConfig
from service.webhooks.addresses import CheckedResolver

AT_ONCE: Final = 16
"""Connections of one replica at a time."""
NO_ANSWER: Final = 0
"""In place of a status."""


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The signature of Standard Webhooks, which OpenAI's client checks; a `whsec_` secret is in base64 behind that."""
    key = b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(key, signed, sha256)).decode()


class Sender:
    """Connections are opened when first needed, and `close` ends them. Redirects are not followed, answers not read."""

    def __init__(self, config: WebhooksConfig) -> None:
        self._config = config
        self._resolver = CheckedResolver(config.private)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()
        await self._resolver.close()

    async def post(self, url: URL, id: str, body: bytes) -> tuple[int, str]:
        """Post the event `id` to an address that was checked: the status, or `NO_ANSWER`, and what to say of it."""
        now = int(time.time())
        headers = {"Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": str(now)}
        if self._config.secret:
            secret = self._config.secret.get_secret_value()
            headers["webhook-signature"] = sign(secret, id, now, body)
        posting = self._opened().post(url, data=body, headers=headers, allow_redirects=False)
        try:
            async with posting as response:
                return response.status, f"status {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return NO_ANSWER, type(
                error.__cause__ if isinstance(error.__cause__, OSError) else error
            ).__name__

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Each delivery has a connection of its own, to addresses that were looked up and checked for it.
            connector = aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, force_close=True, limit=AT_ONCE
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._config.seconds),
                headers={"User-Agent": "Aliquot"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session
