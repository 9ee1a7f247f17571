"""A calibration run: problems asked a few at a time, each in the log once it is answered, then graded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.calibration.asking import Asking, LeftOut
from service.calibration.data import Problem, Response
from service.calibration.grading import Graded, grade
from service.calibration.log import Log
from verifiers.workers import Workers

MOST_FAILURES: Final = 5
"""Problems left out one after the other, past which the rest are not tried."""


@dataclass(slots=True)
class Progress:
    """What has been done: graded problems by their place in the data, those left out with the reason, warnings.

    `right` of `samples` responses, of `tokens` in all.
    """

    problems: int
    graded: dict[int, Graded] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    right: int = 0
    samples: int = 0
    tokens: int = 0
    stopped: bool = False

    @property
    def done(self) -> int:
        return len(self.graded) + len(self.left_out)

    def add(self, place: int, graded: Graded) -> None:
        self.graded[place] = graded
        self.right += sum(graded.right)
        self.samples += len(graded.right)
        self.tokens += sum(response.tokens for response in graded.responses)


class Calibration:
    """Grades every problem: what is recorded or in the log at once, the others as the service answers them.

    `told` hears of the progress after each problem. `stop` lets the calls under way finish and begins no more;
    cancelling `run` does the same, so that Ctrl-C loses nothing that was paid for.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        format: str,
        workers: Workers,
        told: Callable[[Progress], None],
    ) -> None:
        self.progress = Progress(len(problems))
        self.stopping = asyncio.Event()
        self._problems = problems
        self._format = format
        self._workers = workers
        self._told = told
        self._in_a_row = 0

    async def take(self, log: Log | None) -> None:
        """Grade the responses that are there already: recorded ones, and those that the log kept."""
        kept = log.kept if log else {}
        there = {i: p.recorded or kept.get(p.identity) for i, p in enumerate(self._problems)}
        await asyncio.gather(*(self._grade(i, responses) for i, responses in there.items() if responses))

    async def run(self, asking: Asking, log: Log, concurrency: int) -> None:
        """Ask for all that is missing. Raises Refused, and OSError where the log cannot be written."""
        missing = iter([i for i in range(len(self._problems)) if i not in self.progress.graded])

        async def work() -> None:
            for place in missing:
                if self.stopping.is_set():
                    return
                try:
                    await self._ask(place, asking, log)
                except BaseException:
                    self.stopping.set()
                    raise

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            self._stop()
            await asyncio.wait(workers)
        finally:
            for worker in workers:
                worker.cancel()
        failures = [worker.exception() for worker in workers]
        for failure in failures:
            if failure is not None:
                raise failure

    def _stop(self) -> None:
        self.progress.stopped = True
        self.stopping.set()
        self._told(self.progress)

    async def _ask(self, place: int, asking: Asking, log: Log) -> None:
        problem = self._problems[place]
        try:
            responses = await asking.responses(problem)
        except LeftOut as reason:
            if not self.stopping.is_set():
                self._leave_out(place, str(reason))
            return
        log.append(problem, responses)
        self._in_a_row = 0
        await self._grade(place, responses)

    def _leave_out(self, place: int, reason: str) -> None:
        self.progress.left_out[place] = reason
        self._in_a_row += 1
        if self._in_a_row >= MOST_FAILURES:
            self.stopping.set()
        self._told(self.progress)

    async def _grade(self, place: int, responses: Sequence[Response]) -> None:
        graded, warnings = await grade(self._problems[place], responses, self._format, self._workers)
        self.progress.add(place, graded)
        self.progress.warnings.update(dict.fromkeys(warnings))
        self._told(self.progress)
