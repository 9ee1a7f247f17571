"""`Search`: the only door through which a strategy spends anything."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar, cast

from budgets.budget import BudgetExhausted, Unit
from budgets.ledger import Ledger, Reservation
from budgets.tariff import Charge
from engines.base import Call, Chunk, Engine, EngineError
from strategies.advice import Advisor, Unadvised
from strategies.base import BUDGET_ENDED, Candidate, Outcome, Problem, StoppedBecause
from strategies.calls import Finished, plain, replay, stream
from strategies.embedding import Embedding
from strategies.journal import Draw, Journal, Record, Settled
from strategies.pricing import UNPRICED, Calls, Pricing
from strategies.scoring import Scoring, digest
from verifiers.answers import Answers
from verifiers.base import Embedder, Verifier

Event = Mapping[str, Any]
T = TypeVar("T")


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
        embedder: Embedder | None = None,
        pricing: Pricing = UNPRICED,
        advisor: Advisor | None = None,
        seed: int | None = None,
        journal: Iterable[Record] = (),
        listen: Callable[[Event], None] | None = None,
        live: bool = False,
    ) -> None:
        self.problem = problem
        self.answers = answers
        self.verifier = verifier
        self.advisor = advisor or Unadvised()
        self._seed = seed
        self.journal = Journal(journal)
        self.trace: list[Event] = []
        self.warnings: list[str] = []
        self.failure: EngineError | None = None
        self._engine = engine
        self._ledger = ledger
        self._limited_by: Unit | None = None
        self._calls = Calls(pricing, problem)
        self._embedding = Embedding(embedder, ledger, self._calls) if embedder else None
        parts = ledger, problem.messages, self.journal, self._calls
        self._scoring = Scoring(verifier, *parts) if verifier else None
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
    def least_charge(self) -> Charge:
        """What the shortest answer costs, and what judges it."""
        verdict = self.verifier.max_tokens if self.verifier else None
        room = self._calls.room([self.problem.prompt], 1, 1, verdict)
        return room["price"](1, 1) + room["beside"](1, 1)

    @property
    def samples_begun(self) -> int:
        return self._ledger.spent.samples

    def fits(self, sequences: int, max_tokens: int) -> bool:
        """Whether the tokens left let so many sequences, and verdicts on them, have all their length."""
        left, aside = self._ledger.tokens_left, self.verifier.max_tokens if self.verifier else 0
        return left is None or sequences * (max_tokens + aside) <= left

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
        owes: bool = True,
        logprobs: bool = False,
        finished: Finished | None = None,
    ) -> Draw:
        """Continue each of `prefixes` `n` times in ONE engine call, and return what finished.

        What does not fit the budget is trimmed. `finished` is awaited with each sample as it ends; once it returns
        True the samples still running are cancelled, and only what they generated is charged. `begins` says whether
        these are new samples, `owes` whether each is to be scored, so that tokens are kept for that, `logprobs` that
        token log-probabilities are wanted whatever the verifier needs. Raises BudgetExhausted where nothing fits or
        finished in time, EngineError where the engine fails with nothing to show.
        """
        recorded = self.journal.draw()
        verdict = self.verifier.max_tokens if self.verifier and owes else None
        room = self._calls.room(prefixes, n, max_tokens, verdict, recorded)
        reservation = self._ledger.reserve(**room, begins=begins)
        limited_by = recorded.limited_by if recorded else reservation.trimmed_by
        if reservation.sequences < len(prefixes) * n:
            self._limited_by = limited_by
            prefixes = prefixes[: reservation.sequences]
            n = reservation.sequences // len(prefixes)
        each, most = reservation.tokens_each, reservation.tokens
        call = self._call(prefixes, n, each, stop, logprobs)
        draw = recorded or Draw(len(prefixes), each, most, limited_by=limited_by)
        began = self._ledger.seconds
        try:
            await self._make(call, draw, finished)
        finally:
            seconds = 0.0 if recorded else self._ledger.seconds - began
            if not recorded:
                # Where samples were judged as they came, the time is not the engine's alone.
                draw.charge = self._calls.settled(
                    draw, call.prompts, reservation.sequences, None if finished else seconds
                )
            self._settle(reservation, draw, seconds)
        if owes and self._scoring:
            self._scoring.owe(len(draw.drawn), max((len(d.sample.tokens) for d in draw.drawn), default=0))
        self._conclude(call, draw)
        return draw

    async def score(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with the verifier's scores, None where it gives none; equal texts are scored once."""
        if self._scoring is None:
            return list(candidates)
        with self.spending():
            verdict, scores = await self._scoring.score(candidates)
            for warning in verdict.warnings:
                self.warn(warning)
            if scores:
                self.report("score", verifier=self._scoring.verifier.name, scores=scores, read=verdict.read)
        return [c.scored(self._scoring.scores.get(digest(c.text))) for c in candidates]

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]] | None:
        """A vector for each text; None where no embedder is configured, or it fails, which a warning says."""
        if self._embedding is None:
            return None
        if self._embedding.unpriced:
            self.warn("What embedding costs is not known: configure the path and hardware of its model.")
        recorded = self.journal.settled()
        embedded = await self._embedding.ask(texts, recorded.value if recorded else None)
        if recorded is None:
            self.journal.add(Settled(embedded))
        if isinstance(embedded, str):
            self.warn(f"Steps were compared by their texts alone, since embedding them failed: {embedded}")
            return None
        return list(embedded.vectors)

    async def settled(self, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` finds out, recorded; in a replay, what it found then. For all that might differ the next time."""
        recorded = self.journal.settled()
        if recorded is None:
            recorded = Settled(await find())
            self.journal.add(recorded)
        return cast(T, recorded.value)

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        """The answer of each content; None, and a warning, where reading it takes longer than the budget has left."""
        try:
            async with asyncio.timeout(self._ledger.seconds_left):
                answers = await self.answers.canonical(contents)
        except TimeoutError:
            self.limit("seconds")
            self.warn("Time ran out while answers were read; those that were not read have no vote.")
            return [None] * len(contents)
        for warning in self.answers.warnings:
            self.warn(warning)
        return answers

    def _call(
        self,
        prefixes: Sequence[tuple[int, ...]],
        n: int,
        max_tokens: int,
        stop: tuple[str, ...],
        logprobs: bool,
    ) -> Call:
        sampling = dict(self.problem.sampling)
        if self._call_seeds:
            sampling["seed"] = self._call_seeds.getrandbits(31)
        wanted = 0 if logprobs or (self.verifier and self.verifier.needs_logprobs) else None
        stops = stop or self.problem.stop
        return Call(tuple(prefixes), n, max_tokens, stops, wanted, sampling, self._affinity)

    async def _make(self, call: Call, draw: Draw, finished: Finished | None) -> None:
        """Fill `draw`: from the journal, where it stands there already, or with a call."""
        if draw in self.journal:
            await replay(draw, finished)
            return
        seconds, heard = self._ledger.seconds_left, self._hear if self._live else None
        if finished or heard or self._ledger.budget.seconds is not None:
            await stream(self._engine, call, draw, seconds, finished, heard)
        else:
            await plain(self._engine, call, draw, seconds)
        self.journal.add(draw)

    def _settle(self, reservation: Reservation, draw: Draw, seconds: float) -> None:
        usage = draw.usage
        self._ledger.settle(
            reservation,
            draw.tokens,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens or 0,
            charge=draw.charge,
            engine_seconds=seconds,
        )
        self.report(
            "sample",
            prefixes=draw.prefixes,
            n=reservation.sequences // draw.prefixes,
            max_tokens=draw.max_tokens,
            finished=len(draw.drawn),
            tokens=draw.tokens,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
        )

    def _conclude(self, call: Call, draw: Draw) -> None:
        """Raise what broke a call off, unless it brought something; that is kept, and the failure noted."""
        if draw.failure and not draw.drawn:
            raise draw.failure
        if isinstance(draw.failure, BudgetExhausted):
            self.limit(draw.failure.unit)
        elif draw.failure:
            self._fail(draw.failure)
        elif not draw.cut_short and (failed := len(call.prompts) * call.n - len(draw.drawn)):
            self.warn(f"{failed} of {failed + len(draw.drawn)} samples failed; the others were used.")

    def _hear(self, chunk: Chunk) -> None:
        if self._listen:
            self._listen({"event": "delta", "choice": chunk.choice, "text": chunk.text})

    def _fail(self, failure: EngineError) -> None:
        self.failure = failure
        self.warn(str(failure))
