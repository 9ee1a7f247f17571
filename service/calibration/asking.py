"""Asking a running service for a problem's responses; a call that fails for a while is repeated."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from service.calibration.data import Problem, Response
from service.calibration.log import Settings

JSON: Final = {"Content-Type": "application/json"}
TRIES: Final = 4
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds before a call is repeated: twice as long each time, or what Retry-After says."""
TEMPORARY: Final = (429, 500, 502, 503)
FAILED: Final = "samples failed"
"""In the warning of a run some of whose samples failed: the others are all that there will be."""
OF_ONE_PROBLEM: Final = (408, 413, 504)
OF_ONE_PROMPT: Final = ("context_length_exceeded", "empty_prompt", "engine_refused")


class LeftOut(Exception):
    """A problem that brought no responses, in the service's own sentence."""


class Refused(Exception):
    """What the service would answer to any problem, in its own sentence."""


class Passing(Exception):
    """What may go better at the next try, in a sentence; `pause`: the seconds until then, where they are known."""

    def __init__(self, sentence: str, pause: float | None = None) -> None:
        super().__init__(sentence)
        self.pause = pause


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
        """The problem's responses, all that were asked for but those that failed; the same at each call.

        Raises LeftOut, or Refused.
        """
        body = self._body(problem)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._try(body)
            except Passing as failure:
                pause = _pause(attempt) if failure.pause is None else failure.pause
                if attempt == TRIES or await self._stopped(pause):
                    raise LeftOut(str(failure)) from failure

    async def _try(self, body: str) -> tuple[Response, ...]:
        try:
            reply = await self._client.post("/v1/scale", content=body, headers=JSON)
        except httpx.ConnectError as error:
            raise Passing("The service does not answer any more.") from error
        except httpx.HTTPError as error:
            raise Passing("The service closed the connection before it had answered.") from error
        if reply.is_success:
            return _whole(reply, self._settings)
        if reply.status_code in TEMPORARY:
            raise Passing(_sentence(reply), _retry_after(reply))
        if _error(reply).get("param") == "scaling.budget.samples":
            raise Refused(
                f"--samples {self._settings.samples} is above the service's limits.samples. "
                "Lower --samples, or raise limits.samples in the service's configuration."
            )
        raise (LeftOut if _of_one(reply) else Refused)(_sentence(reply))

    async def _stopped(self, seconds: float) -> bool:
        """Whether there was a stop while waiting so long."""
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _body(self, problem: Problem) -> str:
        """In ASCII: a text from the data may be none that UTF-8 can write."""
        given = self._settings
        scaling = {
            "strategy": "best_of_n" if given.verifier else "majority",
            "budget": {"samples": given.samples},
            "verifier": given.verifier,
            "answer": {"format": self._format},
        }
        body = {
            "model": given.model,
            "messages": problem.messages,
            "scaling": scaling,
            "max_tokens": given.max_tokens,
            "temperature": given.temperature,
            "seed": int(problem.identity[:12], 16),
        }
        return json.dumps(body)


def _whole(reply: httpx.Response, asked: Settings) -> tuple[Response, ...]:
    """The responses of an outcome, which are logged for good. Raises where they are not what was asked for."""
    try:
        outcome = reply.json()
        found = tuple(
            Response(c["text"], max(1, c["tokens"]), c["finish_reason"] != "length", c["score"])
            for c in outcome["candidates"]
        )
        why = str(outcome["scaling"]["stopped_because"])
        warnings = [str(warning) for warning in outcome["scaling"]["warnings"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{reply.url} did not answer an outcome; is it an Aliquot?") from error
    if why != "completed":
        raise _ended(why, warnings, asked.samples)
    if len(found) < asked.samples and not any(FAILED in warning for warning in warnings):
        raise Passing(f"The service answered {len(found)} of {asked.samples} samples.")
    if not found:
        raise LeftOut("The service answered no response.")
    if asked.verifier and all(response.score is None for response in found):
        raise LeftOut(" ".join(warnings) or f"{asked.verifier} scored none of the responses.")
    return found


def _ended(why: str, warnings: Sequence[str], samples: int) -> Exception:
    """What is to be done about a run that was ended before it was complete."""
    if why == "budget_tokens":
        return Refused(
            f"The service's limits.tokens cut the {samples} samples of a problem short. "
            "Raise limits.tokens in the service's configuration, or set --max-tokens low enough for all of them."
        )
    if why == "engine_failed":
        return Passing(" ".join(warnings) or "The engine failed before all samples were drawn.")
    if why == "budget_seconds":
        return LeftOut(
            "Time ran out before all samples were drawn. "
            "Raise limits.seconds in the service's configuration, or lower --concurrency."
        )
    return Refused(
        f"The service ended a run before all samples were drawn: {why}. Look at its configuration."
    )


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
