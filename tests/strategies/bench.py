"""Runs a strategy on scripted replies: what the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from budgets.budget import Budget
from budgets.hardware import Hardware
from budgets.ledger import Ledger
from budgets.models import ModelShape
from budgets.tariff import Tariff
from engines.base import EngineError
from engines.scripted import Script, ScriptedEngine
from strategies.advice import Advisor
from strategies.base import Outcome, Problem, Strategy
from strategies.journal import Record
from strategies.pricing import UNPRICED, Pricing
from strategies.search import Search
from verifiers.answers import make_answers
from verifiers.base import Verdict
from verifiers.workers import Workers

TARIFF = Tariff(
    ModelShape(1e9, 1e9, num_layers=16, num_attention_heads=16, num_kv_heads=4, head_dim=64),
    Hardware("small", 1e14, 1e12, 1e11),
    usd_per_hour=3.6,
)


@dataclass
class TableVerifier:
    """Scores a response by looking its text up; counts what it was asked. A text that is missing scores None."""

    scores: Mapping[str, float | None] | Callable[[str], float | None]
    name: str = "table"
    needs_logprobs: bool = False
    instant: bool = False
    max_tokens: int = 0
    generated: int = 0
    fails: EngineError | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def score(
        self, messages: Any, responses: Sequence[Any], *, seconds: float | None = None
    ) -> Verdict:
        self.asked.append([r.content for r in responses])
        if self.fails:
            raise self.fails
        look = self.scores if callable(self.scores) else self.scores.get
        return Verdict(
            tuple(look(r.content) for r in responses), read=7, generated=self.generated * len(responses)
        )


@dataclass
class Ran:
    outcome: Outcome
    search: Search
    ledger: Ledger
    engine: ScriptedEngine

    @property
    def best(self) -> str | None:
        return self.outcome.candidates[0].answer if self.outcome.candidates else None

    @property
    def texts(self) -> list[str]:
        return [c.response.content for c in self.outcome.candidates]


async def run(
    strategy: Strategy,
    script: Script | ScriptedEngine,
    budget: Budget,
    *,
    verifier: Any = None,
    embedder: Any = None,
    max_tokens: int = 100,
    k: int = 1,
    format: str = "text",
    pattern: str | None = None,
    seed: int | None = None,
    journal: Iterable[Record] = (),
    sampling: Mapping[str, Any] | None = None,
    stop: tuple[str, ...] = (),
    pricing: Pricing = UNPRICED,
    advisor: Advisor | None = None,
) -> Ran:
    engine = script if isinstance(script, ScriptedEngine) else ScriptedEngine(script)
    message = {"role": "user", "content": "?"}
    problem = Problem((message,), (1, 2, 3), max_tokens, k=k, stop=stop, sampling=sampling or {})
    ledger = Ledger(budget)
    answers = make_answers(format, pattern=pattern, workers=Workers())
    search = Search(
        engine,
        problem,
        ledger,
        answers,
        verifier=verifier,
        embedder=embedder,
        pricing=pricing,
        advisor=advisor,
        seed=seed,
        journal=journal,
    )
    return Ran(await strategy.run(search), search, ledger, engine)
