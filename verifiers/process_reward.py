"""Scores each step of a response with a process reward model on vLLM's pooling server."""

from __future__ import annotations

import asyncio
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from engines.base import EngineError, EngineGarbage, EngineRefused, Message
from engines.transport import Transport, decode
from verifiers.base import Response, Score, Verdict, sane
from verifiers.pooling import Pooling, Row
from verifiers.step_tokens import StepTokens

Aggregate = Literal["last", "min", "mean", "prod"]

AGGREGATES: Final[Mapping[Aggregate, Callable[[Sequence[float]], float]]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "mean": statistics.fmean,
    "prod": math.prod,
}
PARAGRAPH: Final = "\n\n"
MOST_STEPS: Final = 256
"""A response that comes without steps is split into at most as many: the last takes the rest."""


@dataclass(slots=True, eq=False)
class _Step:
    """A step after the steps before it, in the tree of all that was asked about; `known` once it has been scored."""

    text: str
    score: Score = None
    known: bool = False
    after: dict[str, _Step] = field(default_factory=dict)


Path = Sequence[_Step]
"""The steps so far. Two paths with equal texts end in one and the same step."""


_Input = tuple[Path, list[int]]
"""A path, and the token ids of the conversation and its steps."""


@dataclass(slots=True)
class _Tally:
    """What one scoring came to: tokens read, whether paths were too long, and what failed."""

    read: int = 0
    too_long: bool = False
    failures: list[EngineError] = field(default_factory=list)


@dataclass(slots=True)
class ProcessReward:
    """The `aggregate` of a response's step scores from `model` behind `http`, one /pooling call for all responses.

    Where a step's score is read: with a `step_token` (as Qwen2.5-Math-PRM, 2501.07301) at the token that is put after
    each step; with a `separator` at the last token of each step; with neither at the last token of the path so far, so
    that no step's score depends on what follows it. A response that comes without steps is split after each
    `separator`, by default an empty line. The first two read a path's every step in one pass where the server gives a
    row a token or a row a step; where it gives one a text, and without both, each path so far is a text of its own,
    and the server's prefix cache pays for what they share.

    A score is the number of the class `positive_label`: by default the second of two, and the only one of one. `min`,
    `mean` and `prod` are over all steps so far, None where one of them is; `prod` needs numbers in [0, 1]. A path is
    scored once, however often it is asked for; one that is too long, fails, or is late has None.
    Source: process supervision and its aggregations, Lightman et al. 2305.20050; Snell et al. 2408.03314.
    """

    name: str
    http: Transport
    model: str
    positive_label: int | None = None
    aggregate: Aggregate = "last"
    step_token: str | None = None
    separator: str | None = None
    _tokens: StepTokens = field(init=False)
    _root: _Step = field(init=False, default_factory=lambda: _Step(""))

    needs_logprobs: ClassVar[bool] = False
    max_tokens: ClassVar[int] = 0
    instant: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._tokens = StepTokens(self.name, self.http, self.model, self.step_token)

    async def score(
        self, messages: Sequence[Message], responses: Sequence[Response], *, seconds: float | None = None
    ) -> Verdict:
        paths = [self._path(response) for response in responses]
        tally = _Tally()
        late = False
        try:
            async with asyncio.timeout(seconds):
                await self._learn(messages, paths, tally)
        except TimeoutError:
            late = True
        scores = tuple(map(self._aggregated, paths))
        scored = sum(score is not None for score in scores)
        if tally.failures and not scored:
            raise tally.failures[0]
        warnings = []
        if scored < len(scores):
            warnings.append(
                f"{self.name} scored {scored} of {len(scores)} responses{' in time' if late else ''}."
            )
        if tally.too_long:
            warnings.append(f"{self.name} reads {self._tokens.most} tokens, and some responses are longer.")
        return Verdict(scores, tally.read, warnings=tuple(warnings))

    def _path(self, response: Response) -> Path:
        texts: Sequence[str] = [step.text for step in response.steps]
        path = [self._root]
        for text in texts or split_steps(response.sample.text, self.separator or PARAGRAPH):
            after = path[-1].after
            path.append(after.get(text) or after.setdefault(text, _Step(text)))
        return path[1:]

    def _wanted(self, path: Path) -> list[Path]:
        """The paths to this one's steps whose scores it needs and that have none."""
        first = len(path) if self.aggregate == "last" else 1
        return [path[:end] for end in range(first, len(path) + 1) if not path[end - 1].known]

    def _aggregated(self, path: Path) -> Score:
        if self.aggregate == "last":
            return path[-1].score
        known = [step.score for step in path if step.score is not None]
        return AGGREGATES[self.aggregate](known) if len(known) == len(path) else None

    async def _learn(self, messages: Sequence[Message], paths: Sequence[Path], tally: _Tally) -> None:
        new = [path for path in paths if self._wanted(path)]
        if not new:
            return
        tally.failures += await self._tokens.learn(messages, (step.text for path in new for step in path))
        if self.step_token or self.separator:
            await self._pool(new, tally)
            new = [path for path in new if path[-1].known]
        await self._pool([wanted for path in new for wanted in self._wanted(path)], tally)

    async def _pool(self, paths: Sequence[Path], tally: _Tally) -> None:
        """Ask for all `paths` at once; where the server refuses that, one by one, to lose only those it refuses."""
        inputs: list[_Input] = []
        for path in {path[-1]: path for path in paths}.values():
            ids = self._tokens.ids([step.text for step in path])
            if ids is not None and len(ids) > (self._tokens.most or len(ids)):
                tally.too_long = True
            elif ids is not None:
                inputs.append((path, ids))
        if not inputs:
            return
        try:
            await self._ask(inputs, tally)
        except EngineRefused as refusal:
            if len(inputs) == 1:
                tally.failures.append(refusal)
                return
            alone = [self._ask([one], tally) for one in inputs]
            for result in await asyncio.gather(*alone, return_exceptions=True):
                if isinstance(result, EngineError):
                    tally.failures.append(result)
                elif result is not None:
                    raise result from refusal
        except EngineError as failure:
            tally.failures.append(failure)

    async def _ask(self, inputs: Sequence[_Input], tally: _Tally) -> None:
        answer = await self.http.post("/pooling", {"model": self.model, "input": [ids for _, ids in inputs]})
        pooling = decode(answer, Pooling)
        tally.read += pooling.usage.prompt_tokens
        if len(pooling.data) != len(inputs):
            raise EngineGarbage(f"{self.name} answered {len(pooling.data)} of {len(inputs)} texts.")
        for (path, ids), pooled in zip(inputs, pooling.data, strict=True):
            for step, row in zip(*self._read(path, ids, pooled.rows()), strict=True):
                if not step.known:
                    step.score, step.known = self._number(row), True
            await asyncio.sleep(0)  # thousands of rows a path: let others run between two

    def _read(self, path: Path, ids: Sequence[int], rows: Sequence[Row]) -> tuple[Path, Sequence[Row]]:
        """The steps of `path` that `rows` score, each with its row: one came a token, one a step, or one in all."""
        mark = self._tokens.mark
        if len(rows) == 1:
            return path[-1:], rows
        if len(rows) == len(ids):
            if not (self.step_token or self.separator):
                return path[-1:], rows[-1:]
            return path, [rows[end] for end in self._tokens.ends([step.text for step in path])]
        if mark is not None and len(rows) == ids.count(mark):
            # The conversation may spell the token too: the last are the path's own.
            return path, rows[-len(path) :]
        raise EngineGarbage(
            f"{self.name} gave {len(rows)} rows for {len(ids)} tokens and {len(path)} steps: not one a token, one a "
            "step or one in all. Configure step_token as the token that its server looks for."
        )

    def _number(self, row: Row) -> Score:
        label = self.positive_label
        if label is None and row:
            label = {1: 0, 2: 1}.get(len(row))
        if label is None or label >= len(row):
            raise EngineGarbage(
                f"{self.name} gives {len(row)} numbers a step. Configure positive_label as the place of the one that "
                "says a step is good, counted from 0."
            )
        score = sane(row[label])
        if self.aggregate == "prod" and score is not None and not 0 <= score <= 1:
            raise EngineGarbage(
                f"{self.name} scores outside [0, 1], which prod cannot multiply. Configure another aggregate, or a "
                "server that answers probabilities."
            )
        return score


def split_steps(text: str, separator: str) -> list[str]:
    """`text` cut after each `separator`; repeated ones stay together, and blank text makes no step of its own."""
    steps = re.findall(rf"(?s)\s*\S.*?(?:(?:{re.escape(separator)})+|\Z)", text.rstrip())
    return [*steps[: MOST_STEPS - 1], *filter(None, ["".join(steps[MOST_STEPS - 1 :])])] or [text]
