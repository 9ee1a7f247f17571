"""`Search`: the only door through which a strategy spends anything."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import cached_property
from typing import Any

from budgets.budget import BudgetExhausted, Unit
from budgets.ledger import Ledger
from engines.assembly import Assembly
from engines.base import Call, Engine, EngineError, EngineGarbage, EngineRefused, EngineUnavailable, Usage
from strategies.base import BUDGET_ENDED, Candidate, Outcome, Problem, StoppedBecause
from strategies.journal import Draw, Drawn, Journal, Record, Scored
from verifiers.answers import Answers
from verifiers.base import Score, Verdict, Verifier, sane

Event = Mapping[str, Any]
Finished = Callable[[Drawn, int], Awaitable[bool]]
"""Told of a finished sample and of the length it was granted; True cancels the rest of its call."""


class Search:
    """Samples and scores within one request's budget, and keeps an account, a trace and a journal of both.

    `rng` is seeded by the request's `seed`, and so are the engine's calls where one is given. Results recorded in
    `journal` are returned in order, without a call, until they run out. `listen` hears every event as it happens, and
    with `live` the text of each sample as it comes.
    """

    def __init__(
        self,
        engine: Engine,
        problem: Problem,
        ledger: Ledger,
        answers: Answers,
        *,
        verifier: Verifier | None = None,
        seed: int | None = None,
        journal: Iterable[Record] = (),
        listen: Callable[[Event], None] | None = None,
        live: bool = False,
    ) -> None:
        self.problem = problem
        self.answers = answers
        self.verifier = verifier
        self._seed = seed
        self.journal = Journal(journal)
        self.trace: list[Event] = []
        self.warnings: list[str] = []
        self.failure: EngineError | None = None
        self._engine = engine
        self._ledger = ledger
        self._limited_by: Unit | None = None
        self._scores: dict[str, Score] = {}
        self._call_seeds = None if seed is None else random.Random(seed)
        self._listen = listen
        self._live = live
        self._affinity = array("Q", problem.prompt).tobytes()

    @cached_property
    def rng(self) -> random.Random:
        return random.Random(self._seed)

    @property
    def samples_left(self) -> int:
        """Samples that may still be begun."""
        return self._ledger.samples_left

    @property
    def samples_begun(self) -> int:
        return self._ledger.spent.samples

    def report(self, event: str, **facts: Any) -> None:
        """Note an event in the trace and tell whoever listens."""
        entry = {"event": event, "at": round(self._ledger.seconds, 4), **facts}
        self.trace.append(entry)
        if self._listen:
            self._listen(entry)

    def warn(self, sentence: str) -> None:
        """Tell the client something it should know of the answer, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def limit(self, unit: Unit) -> None:
        """Note that the budget in `unit` kept the run from what it would have done."""
        self._limited_by = unit

    @contextmanager
    def spending(self) -> Generator[None]:
        """A block that ends, without an error, when the budget does or the engine fails; the outcome says which."""
        try:
            yield
        except BudgetExhausted as end:
            self.limit(end.unit)
        except EngineError as failure:
            self._fail(failure)

    def outcome(
        self,
        ranked: Sequence[Candidate],
        stopped_because: StoppedBecause = "completed",
        estimates: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """The outcome with candidates ranked best first; a failure or a budget's end stands in place of `completed`."""
        if stopped_because == "completed":
            if self.failure:
                stopped_because = "engine_failed"
            elif self._limited_by:
                stopped_because = BUDGET_ENDED[self._limited_by]
        return Outcome(tuple(ranked), stopped_because, estimates or {})

    async def sample(
        self,
        prefixes: Sequence[tuple[int, ...]],
        n: int,
        *,
        max_tokens: int,
        stop: tuple[str, ...] = (),
        begins: bool = True,
        finished: Finished | None = None,
    ) -> Draw:
        """Continue each of `prefixes` `n` times in ONE engine call, and return what finished.

        What does not fit the budget is trimmed. `finished` is awaited with each sample as it ends; once it returns
        True the samples still running are cancelled, and only what they generated is charged. `begins` says whether
        these are new samples. Raises BudgetExhausted where nothing fits or finished in time, EngineError where the
        engine fails with nothing to show.
        """
        asked = len(prefixes) * n
        aside = self.verifier.max_tokens if self.verifier and begins else 0
        reservation = self._ledger.reserve(asked, max_tokens, begins=begins, aside=aside)
        if reservation.sequences < asked:
            self._limited_by = reservation.trimmed_by
            prefixes = prefixes[: reservation.sequences]
            n = reservation.sequences // len(prefixes)
        call = self._call(prefixes, n, reservation.tokens_each, stop)
        draw = Draw(reservation.tokens_each, tokens=reservation.tokens)
        began = self._ledger.seconds
        try:
            recorded = self.journal.draw()
            if recorded:
                draw = recorded
                await self._replay(draw, finished)
            elif finished or self._live or self._ledger.budget.seconds is not None:
                await self._stream(call, draw, finished)
            else:
                await self._plain(call, draw)
            if not recorded:
                self.journal.add(draw)
        finally:
            read, cached = draw.usage.prompt_tokens, draw.usage.cached_tokens
            self._ledger.settle(
                reservation,
                draw.tokens,
                prompt_tokens=read,
                cached_tokens=cached or 0,
                engine_seconds=self._ledger.seconds - began,
            )
            self._ledger.aside += aside * len(draw.drawn)
            self.report(
                "sample",
                prefixes=len(prefixes),
                n=n,
                max_tokens=call.max_tokens,
                finished=len(draw.drawn),
                tokens=draw.tokens,
                prompt_tokens=read,
                cached_tokens=cached,
            )
        return draw

    async def score(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with the verifier's scores, None where it gives none; equal texts are scored once."""
        if self.verifier is None:
            return list(candidates)
        new = {c.text: c for c in candidates if c.text not in self._scores}
        if new:
            with self.spending():
                self._scores |= await self._verdict(self.verifier, list(new.values()))
        return [c.scored(self._scores.get(c.text)) for c in candidates]

    async def _verdict(self, verifier: Verifier, candidates: list[Candidate]) -> dict[str, Score]:
        self._ledger.aside = 0
        reservation = self._ledger.reserve(len(candidates), verifier.max_tokens, begins=False)
        if reservation.tokens_each < verifier.max_tokens:
            self._ledger.release(reservation)
            raise BudgetExhausted("tokens")
        candidates = candidates[: reservation.sequences]
        texts = tuple(c.text for c in candidates)
        verdict = Verdict((), generated=reservation.tokens)
        try:
            verdict = self.journal.verdict(texts) or await self._ask(verifier, candidates)
        finally:
            self._ledger.settle(reservation, verdict.generated, verifier_tokens=verdict.read)
        for warning in verdict.warnings:
            self.warn(warning)
        scores = dict(zip(texts, map(sane, verdict.scores), strict=True))
        self.report("score", verifier=verifier.name, scores=list(scores.values()), read=verdict.read)
        return scores

    async def _ask(self, verifier: Verifier, candidates: list[Candidate]) -> Verdict:
        try:
            async with asyncio.timeout(self._ledger.seconds_left):
                verdict = await verifier.score(self.problem.messages, [c.response for c in candidates])
        except TimeoutError as late:
            raise BudgetExhausted("seconds") from late
        except EngineError as failure:
            sentence = f"{verifier.name} gave no scores, so they play no part: {failure}"
            return Verdict((None,) * len(candidates), warnings=(sentence,))
        self.journal.add(Scored(tuple(c.text for c in candidates), verdict))
        return verdict

    def _call(
        self, prefixes: Sequence[tuple[int, ...]], n: int, max_tokens: int, stop: tuple[str, ...]
    ) -> Call:
        sampling = dict(self.problem.sampling)
        if self._call_seeds:
            sampling["seed"] = self._call_seeds.getrandbits(31)
        logprobs = 0 if self.verifier and self.verifier.needs_logprobs else None
        return Call(
            tuple(prefixes), n, max_tokens, stop or self.problem.stop, logprobs, sampling, self._affinity
        )

    async def _replay(self, draw: Draw, finished: Finished | None) -> None:
        for drawn in draw.drawn:
            if finished and await finished(drawn, draw.max_tokens):
                break

    async def _plain(self, call: Call, draw: Draw) -> None:
        try:
            async with asyncio.timeout(self._ledger.seconds_left):
                generation = await self._engine.sample(call)
        except TimeoutError as late:
            raise BudgetExhausted("seconds") from late
        except (EngineRefused, EngineUnavailable) as failure:
            if not getattr(failure, "began", False):
                draw.tokens = 0
            raise
        draw.drawn = [
            Drawn(prompt, choice, sample)
            for prompt, samples in enumerate(generation.samples)
            for choice, sample in enumerate(samples)
        ]
        draw.tokens = sum(len(drawn.sample.tokens) for drawn in draw.drawn)
        draw.usage = generation.usage
        self._count_failed(call, draw)

    async def _stream(self, call: Call, draw: Draw, finished: Finished | None) -> None:
        draw.tokens = 0
        draw.usage = Usage(sum(map(len, call.prompts)))
        assembly = Assembly(call)
        try:
            async with (
                asyncio.timeout(self._ledger.seconds_left),
                aclosing(self._engine.stream(call)) as chunks,
            ):
                async for chunk in chunks:
                    if isinstance(chunk, Usage):
                        draw.usage = chunk
                        continue
                    sample = assembly.add(chunk)
                    draw.tokens = assembly.tokens
                    if self._live and self._listen:
                        self._listen({"event": "delta", "choice": chunk.choice, "text": chunk.text})
                    if sample:
                        draw.drawn.append(Drawn(chunk.prompt, chunk.choice, sample))
                        if finished and await finished(draw.drawn[-1], draw.max_tokens):
                            return
        except TimeoutError as late:
            self.limit("seconds")
            if not draw.drawn:
                raise BudgetExhausted("seconds") from late
        except EngineError as failure:
            if not draw.drawn:
                raise
            self._fail(failure)
        else:
            self._count_failed(call, draw)

    def _count_failed(self, call: Call, draw: Draw) -> None:
        asked = len(call.prompts) * call.n
        failed = asked - len(draw.drawn)
        if failed == asked:
            raise EngineGarbage("The engine returned no sample.")
        if failed:
            self.warn(f"{failed} of {asked} samples failed; the others were used.")

    def _fail(self, failure: EngineError) -> None:
        self.failure = failure
        self.warn(str(failure))
