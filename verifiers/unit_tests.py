"""Scores a response by running the program in it against tests, in a sandbox."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from engines.base import EngineError, EngineRefused, Message
from verifiers.base import Response, Score, Verdict
from verifiers.programs import programs
from verifiers.sandbox import Sandbox

_JUDGE: Final = (Path(__file__).parent / "unit_tests_process.py").read_text()
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class UnitTests:
    """1 where all tests pass, else half the share that does: below 0.5, what `repeated_sampling` accepts at.

    `tests` are Python: HumanEval's `check(candidate)`, called with `entry_point`; assert statements; functions `test_…`
    without arguments. A test is an assert statement at the top or in `check` (in a loop it passes if it always does),
    or a whole test function. Tests see what the program defines, and `entry_point` as `candidate` too. No code, code
    that does not compile or raises, and a run cut off by `sandbox`'s limits score 0: they are wrong answers.

    A program scores only by a message that is made when its tests are over, under a token that it is not told: neither
    exit, output, replaced builtins nor objects that say they equal a number or a text pass an `==`. But program and
    tests share a process, so one written to attack this very verifier (by walking stack frames, through ctypes, or with
    operators other than `==`) can find the token or the tests and claim anything; it reaches no further than its score.

    `sandbox` is to be shared by all requests: it bounds how many programs run at once. Source: HumanEval, 2107.03374.
    """

    tests: str
    entry_point: str | None
    sandbox: Sandbox

    name: ClassVar[str] = "unit_tests"
    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        runs = [asyncio.create_task(self.run(messages, response.content)) for response in responses]
        try:
            if runs:
                await asyncio.wait(runs, timeout=seconds)
        finally:
            for run in runs:
                run.cancel()
            results = await asyncio.gather(*runs, return_exceptions=True)
        scores: list[Score] = []
        failures: list[EngineError] = []
        for result in results:
            if isinstance(result, EngineError):
                failures.append(result)
            elif isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
            scores.append(None if isinstance(result, BaseException) else _score(result))
        scored = len(scores) - scores.count(None)
        if failures and not scored:
            raise failures[0]
        late = " in time" if scored + len(failures) < len(scores) else ""
        warning = " ".join(
            [f"{self.name} ran {scored} of {len(scores)} programs{late}.", *map(str, failures[:1])]
        )
        return Verdict(tuple(scores), warnings=(warning,) if scored < len(scores) else ())

    async def run(self, messages: Sequence[Message], content: str) -> tuple[bool, ...]:
        """The verdict of each test on the program in `content`, in order; one False where none could be run.

        Raises SandboxUnavailable where programs cannot be isolated, EngineRefused where the tests are no
        tests, or `entry_point` is no name.
        """
        name = self.entry_point
        if name is not None and not (len(name) <= _LONGEST_NAME and name.isidentifier()):
            raise EngineRefused(
                "scaling.verifier.entry_point is not the name of a function. Name what the tests test."
            )
        candidates = programs(content, _prompt(messages), self.entry_point)
        if not candidates:
            return (False,)
        token = secrets.token_hex(16)
        asked = {"token": token, "programs": candidates, "tests": self.tests, "entry_point": self.entry_point}
        finished = await self.sandbox.run(_JUDGE, ascii(asked).encode())
        said, _, verdict = finished.output.decode(errors="replace").partition(" ")
        if said != token or not verdict or finished.ended != "itself":
            return (False,)
        if verdict.startswith("!"):
            raise EngineRefused(f"The tests in scaling.verifier.tests cannot be run: {verdict[1:]}.")
        return tuple(digit == "1" for digit in verdict)


def _score(passed: Sequence[bool]) -> float:
    return 1.0 if all(passed) else 0.5 * sum(passed) / len(passed)


def _prompt(messages: Sequence[Message]) -> str:
    """The last message of the user's."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return ""
