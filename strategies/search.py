"""`Search`: the only door through which a strategy spends anything."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar, cast

from budgets.budget import BudgetExhausted, Unit
from budgets.ledger import Ledger
from budgets.tariff import Charge
from engines.base import Chunk, Engine, EngineError
from strategies.advice import Advisor, Unadvised
from strategies.base import BUDGET_ENDED, Candidate, Outcome, Problem, StoppedBecause
from strategies.calls import Finished
from strategies.drawing import Drawing, Wanted
from strategies.embedding import Embedding
from strategies.journal import Draw, Finding, Journal, Record, Settled
from strategies.pricing import UNPRICED, Calls, Pricing
from strategies.reading import Reader
from strategies.recording import Recording
from strategies.scoring import Scoring, digest
from verifiers.answers import Answers
from verifiers.base import Embedder, Verifier

Event = Mapping[str, Any]
F = TypeVar("F", bound=Finding)


class Search:
    """Samples and scores within one request's budget, and keeps an account, a trace and a journal of both.

    `rng` is seeded by the request's `seed`, and so are the engine's calls where one is given; else `rng_seed` seeds
    `rng` alone. Results recorded in `journal` are returned in order, without a call, until they run out. `listen` hears
    every event as it happens, and with `live` the text of each sample as it comes.
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
        rng_seed: int | None = None,
        journal: Journal | Iterable[Record] = (),
        listen: Callable[[Event], None] | None = None,
        live: bool = False,
    ) -> None:
        self.problem = problem
        self.answers = answers
        self.verifier = verifier
        self.advisor = advisor or Unadvised()
        self._seed = rng_seed if seed is None else seed
        self.journal = journal if isinstance(journal, Journal) else Journal(journal)
        self.trace: list[Event] = []
        self.warnings: list[str] = []
        self.failure: EngineError | None = None
        self._ledger = ledger
        self._limited_by: Unit | None = None
        self._listen = listen
        self._calls = Calls(pricing, problem)
        self._recording = Recording(self.journal, ledger)
        parts = ledger, self._calls, self._recording
        heard = self._hear if live else None
        self._drawing = Drawing(engine, problem, *parts, seed=seed, settled=self._report_sample, heard=heard)
        self._reader = Reader(answers, ledger, self._recording)
        self._embedding = Embedding(embedder, *parts) if embedder else None
        self._scoring = Scoring(verifier, problem.messages, *parts) if verifier else None

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
        verdict = self.verifier.max_tokens if self.verifier and owes else None
        logprobs = logprobs or bool(self.verifier and self.verifier.needs_logprobs)
        wanted = Wanted(
            prefixes, n, max_tokens, stop or self.problem.stop, begins, verdict, 0 if logprobs else None
        )
        draw, sequences = await self._drawing.draw(wanted, finished)
        if sequences < wanted.sequences:
            self._limited_by = draw.limited_by
        if owes and self._scoring:
            self._scoring.owe(len(draw.drawn), max((len(d.sample.tokens) for d in draw.drawn), default=0))
        self._conclude(draw, sequences)
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
        embedded = await self._embedding.ask(texts)
        if isinstance(embedded, str):
            self.warn(f"Steps were compared by their texts alone, since embedding them failed: {embedded}")
            return None
        return list(embedded.vectors)

    async def settled(self, find: Callable[[], Awaitable[F]], kind: type[F]) -> F:
        """What `find` finds out, recorded; in a replay, what it found then. For all that might differ the next time."""
        settled = self._recording.settled(kind)
        if settled is None:
            settled = await self._recording.keep(Settled(await find()))
        return cast(F, settled.value)

    async def canonical(self, contents: Sequence[str]) -> list[str | None]:
        """The answer of each content; None, and a warning, where reading it takes longer than the budget has left."""
        reading = await self._reader.read(contents)
        if reading.late:
            self.limit("seconds")
            self.warn("Time ran out while answers were read; those that were not read have no vote.")
        for warning in reading.warnings:
            self.warn(warning)
        return list(reading.answers)

    def _report_sample(self, draw: Draw, n: int) -> None:
        self.report(
            "sample",
            prefixes=draw.prefixes,
            n=n,
            max_tokens=draw.max_tokens,
            finished=len(draw.drawn),
            tokens=draw.tokens,
            prompt_tokens=draw.usage.prompt_tokens,
            cached_tokens=draw.usage.cached_tokens,
        )

    def _conclude(self, draw: Draw, sequences: int) -> None:
        """Raise what broke a call off, unless it brought something; that is kept, and the failure noted."""
        if draw.failure and not draw.drawn:
            raise draw.failure
        if isinstance(draw.failure, BudgetExhausted):
            self.limit(draw.failure.unit)
        elif draw.failure:
            self._fail(draw.failure)
        elif not draw.cut_short and (failed := sequences - len(draw.drawn)):
            self.warn(f"{failed} of {sequences} samples failed; the others were used.")

    def _hear(self, chunk: Chunk) -> None:
        if self._listen:
            self._listen({"event": "delta", "choice": chunk.choice, "text": chunk.text})

    def _fail(self, failure: EngineError) -> None:
        self.failure = failure
        self.warn(str(failure))
