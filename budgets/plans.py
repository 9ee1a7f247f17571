"""What the recommender is told, and what it answers: offers, wishes, plans and what is predicted of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from budgets.checks import check_number
from budgets.prediction import Strategy
from budgets.tariff import Tariff

if TYPE_CHECKING:
    from budgets.profiles import Profile

MOST_SAMPLES = 10_000
MOST_ANSWERS = 128


@dataclass(frozen=True, slots=True)
class VerifierOffer:
    """A verifier that may be used. `tariff` None: scoring costs nothing where it is `free`, else nobody knows what.

    `generates`: tokens of a verdict.
    """

    name: str
    tariff: Tariff | None = None
    free: bool = False
    generates: int = 0

    def __post_init__(self) -> None:
        check_number("generates", self.generates, whole=True)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that may be used, with what is known of it on the task; `tariff` None: nobody knows what it costs.

    `prompt_tokens`: of the request. `room`: the most tokens of a sample.
    """

    model: str
    profile: Profile
    tariff: Tariff | None
    prompt_tokens: int
    room: int
    verifiers: tuple[VerifierOffer, ...] = ()

    def __post_init__(self) -> None:
        check_number("prompt_tokens", self.prompt_tokens, whole=True)
        if not self.room >= 1:
            raise ValueError(f"{self.model} has no room for an answer after this prompt. Shorten the prompt.")
        check_number("max_tokens", self.room, least=1, whole=True)

    def cut_at(self, max_tokens: int) -> int | None:
        """The length at which predictions take responses to be cut, None for no cut: where nobody has measured how long
        they are, and they have all the room that the request gives them, they are taken to fit it."""
        guessed = self.profile.source == "prior" and max_tokens >= self.room
        return None if guessed else max_tokens


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be spent, in any units; None leaves a unit uncapped. `samples` is the most that are begun."""

    samples: float | None = None
    tokens: float | None = None
    eflops: float | None = None
    seconds: float | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for unit, cap in self.given().items():
            least = 1.0 if unit in ("samples", "tokens") else 0.0
            check_number(f"budget.{unit}", cap, least=least, most=1e30, above=not least)

    def given(self) -> dict[str, float]:
        """The caps that there are, by unit."""
        return {f.name: cap for f in fields(self) if (cap := getattr(self, f.name)) is not None}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a budget, a target accuracy, or both.

    `k` answers are returned, right is any of them. `wrong_answer_cost`: what a wrong answer costs, in right answers.
    `difficulty`: a hint from 0, easiest of the task, to 1, hardest. `most_samples`: the operator's limit.
    Raises ValueError, naming the field.
    """

    caps: Caps = Caps()
    target_accuracy: float | None = None
    k: int = 1
    wrong_answer_cost: float | None = None
    difficulty: float | None = None
    most_samples: int = 256

    def __post_init__(self) -> None:
        if not self.caps.given() and self.target_accuracy is None:
            raise ValueError(
                "budget and target_accuracy are both missing. Say what may be spent, or how often the answer has to "
                "be right."
            )
        if self.target_accuracy is not None:
            check_number("target_accuracy", self.target_accuracy, most=1, above=True)
        check_number("k", self.k, least=1, most=MOST_ANSWERS, whole=True)
        if self.wrong_answer_cost is not None:
            check_number("wrong_answer_cost", self.wrong_answer_cost, most=1e6)
        if self.difficulty is not None:
            check_number("difficulty", self.difficulty, most=1)
        check_number("most_samples", self.most_samples, least=1, most=MOST_SAMPLES, whole=True)
        if self.k > self.samples_allowed:
            raise ValueError(
                f"k asks for {self.k} answers from {self.samples_allowed} samples. Raise budget.samples or lower k."
            )

    @property
    def samples_allowed(self) -> int:
        return min(self.most_samples, math.floor(self.caps.samples or self.most_samples))


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """What to run: `params` are the strategy's own, `samples` the most to draw, `max_tokens` the most of each."""

    model: str
    strategy: Strategy
    params: Mapping[str, Any]
    samples: int
    max_tokens: int
    verifier: str | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction and its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """Accuracy and cost of a plan: FLOP, USD, seconds, generated tokens. None where nobody knows the cost."""

    accuracy: Interval
    eflops: Interval | None
    usd: Interval | None
    seconds: Interval | None
    tokens: Interval


@dataclass(frozen=True, slots=True)
class Choice:
    plan: ScalingPlan
    predicted: Predicted


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The plan, others by rising cost and rising accuracy, and what to know about it, in plain sentences.

    `axis`: the cost by which plans are compared, "usd", "eflops" or "tokens": the first that is known of all of them.
    """

    choice: Choice
    frontier: tuple[Choice, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    axis: str
