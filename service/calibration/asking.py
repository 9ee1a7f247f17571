"""Asking a running service for a problem's responses; a call that fails for a while is repeated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final

import httpx

from service.calibration.data import Problem, Response
from service.calibration.log import Settings

TRIES: Final = 4
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds before a call is repeated: twice as long each time, or what Retry-After says."""
TEMPORARY: Final = (429, 500, 502, 503)
OF_ONE_PROBLEM: Final = (408, 413, 504)
OF_ONE_PROMPT: Final = ("context_length_exceeded", "empty_prompt", "engine_refused")


class LeftOut(Exception):
    """A problem that brought no responses, in the service's own sentence."""


class Refused(Exception):
    """What the service would answer to any problem, in its own sentence."""


class Asking:
    """Draws responses as `settings` say. `stopping`, once set, ends the waiting for another try."""

    def __init__(
        self, client: httpx.AsyncClient, settings: Settings, format: str, stopping: asyncio.Event
    ) -> None:
        self._client = client
        self._settings = settings
        self._format = format
        self._stopping = stopping

    async def responses(self, problem: Problem) -> tuple[Response, ...]:
        """The problem's responses, the same at each call. Raises LeftOut, or Refused."""
        body = self._body(problem)
        for attempt in range(1, TRIES + 1):
            try:
                reply = await self._client.post("/v1/scale", json=body)
            except httpx.ConnectError:
                failure, pause = "The service does not answer any more.", None
            except httpx.HTTPError:
                failure, pause = "The service closed the connection before it had answered.", None
            else:
                if reply.is_success:
                    return _candidates(reply)
                failure, pause = _sentence(reply), _retry_after(reply)
                if reply.status_code not in TEMPORARY:
                    raise (LeftOut if _of_one(reply) else Refused)(failure)
            if attempt == TRIES or await self._stopped(_pause(attempt) if pause is None else pause):
                break
        raise LeftOut(failure)

    async def _stopped(self, seconds: float) -> bool:
        """Whether there was a stop while waiting so long."""
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _body(self, problem: Problem) -> Mapping[str, Any]:
        given = self._settings
        scaling = {
            "strategy": "best_of_n" if given.verifier else "majority",
            "budget": {"samples": given.samples},
            "verifier": given.verifier,
            "answer": {"format": self._format},
        }
        return {
            "model": given.model,
            "messages": problem.messages,
            "scaling": scaling,
            "max_tokens": given.max_tokens,
            "temperature": given.temperature,
            "seed": int(problem.identity[:12], 16),
        }


def _candidates(reply: httpx.Response) -> tuple[Response, ...]:
    try:
        found = tuple(
            Response(c["text"], max(1, c["tokens"]), c["finish_reason"] != "length", c["score"])
            for c in reply.json()["candidates"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{reply.url} did not answer an outcome; is it an Aliquot?") from error
    if not found:
        raise LeftOut("The service answered no response.")
    return found


def _error(reply: httpx.Response) -> Mapping[str, Any]:
    try:
        error = reply.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _sentence(reply: httpx.Response) -> str:
    message = _error(reply).get("message")
    return str(message) if message else f"{reply.url} answered {reply.status_code}; is it an Aliquot?"


def _of_one(reply: httpx.Response) -> bool:
    """Whether an error is about this problem, and another may do."""
    error = _error(reply)
    about = str(error.get("param") or "")
    return (
        reply.status_code in OF_ONE_PROBLEM
        or error.get("code") in OF_ONE_PROMPT
        or about.startswith("messages")
    )


def _retry_after(reply: httpx.Response) -> float | None:
    try:
        seconds = float(reply.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(0.0, seconds), LONGEST_PAUSE)


def _pause(attempt: int) -> float:
    """Half of it random, so that calls that failed together do not come together again."""
    longest = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
    return float(longest * (1 + random.random()) / 2)
