"""Scores a response by asking a service of the operator's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiohttp
import msgspec
from yarl import URL

from engines.base import EngineGarbage, EngineRefused, EngineUnavailable, Message
from verifiers.base import Response, Score, Verdict, sane

CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 2**20
"""The longest answer that is read: room for ten thousand scores."""


class _Scores(msgspec.Struct):
    scores: list[Score]


class Endpoint:
    """One URL that takes JSON by POST. Redirects are not followed, and no cookies are kept."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = URL(url)
        self._headers = {"Accept-Encoding": "identity", **(headers or {}), "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: Any) -> tuple[int, bytes]:
        """The status and the body, of which at most MOST_BYTES + 1 bytes are read. Raises aiohttp's errors."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        data = msgspec.json.encode(body)
        async with self._session.post(self._url, data=data, allow_redirects=False) as response:
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > MOST_BYTES:
                    break
            return response.status, bytes(answer)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


@dataclass(frozen=True, slots=True)
class HttpVerifier:
    """The scores that `endpoint` gives, any finite numbers, higher better; all responses in one call.

    Sent are {"messages": […], "responses": [{"content", "answer", "steps"?}]}: `answer` is null where there is none,
    `steps` are the texts of a search's steps so far. Expected is {"scores": [number or null, …]}, one a response, in
    order. What does not come within `timeout` seconds, or the budget's where they are fewer, counts as not scored.
    """

    name: str
    endpoint: Endpoint
    timeout: float = 10.0

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        if not responses:
            return Verdict(())
        body = {"messages": messages, "responses": list(map(_told, responses))}
        try:
            async with asyncio.timeout(self.timeout if seconds is None else min(seconds, self.timeout)):
                status, answer = await self._ask(body)
        except TimeoutError:
            warning = f"{self.name} scored 0 of {len(responses)} responses in time."
            return Verdict((None,) * len(responses), warnings=(warning,))
        scores = self._read(status, answer, len(responses))
        scored = sum(score is not None for score in scores)
        warning = f"{self.name} scored {scored} of {len(scores)} responses."
        return Verdict(scores, warnings=(warning,) if scored < len(scores) else ())

    async def _ask(self, body: Any) -> tuple[int, bytes]:
        try:
            return await self.endpoint.post(body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise EngineUnavailable(f"{self.name} cannot be reached.") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise EngineUnavailable(f"{self.name} broke its connection off.", began=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise EngineGarbage(f"{self.name}'s answer is not HTTP.") from error

    def _read(self, status: int, answer: bytes, count: int) -> tuple[Score, ...]:
        if status >= 500 or status == 429:
            raise EngineUnavailable(f"{self.name} answered {status}.", began=status not in (429, 503))
        if status != 200:
            raise EngineRefused(f"{self.name} answered {status} instead of 200.")
        if len(answer) > MOST_BYTES:
            raise EngineGarbage(f"{self.name} answered more than {MOST_BYTES:,} bytes.")
        try:
            scores = msgspec.json.decode(answer, type=_Scores).scores
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EngineGarbage(
                f'{self.name} must answer {{"scores": [number or null, …]}}: {error}'
            ) from error
        if len(scores) != count:
            raise EngineGarbage(f"{self.name} gave {len(scores)} scores for {count} responses.")
        return tuple(map(sane, scores))


def _told(response: Response) -> dict[str, Any]:
    told: dict[str, Any] = {"content": response.content, "answer": response.answer}
    return told | {"steps": [step.text for step in response.steps]} if response.steps else told
