"""What a recommendation is explained from, and how its numbers are worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from budgets.candidates import Candidate, Candidates
from budgets.plans import Choice, Offer, Wanted
from budgets.verifier_quality import Rates

UNITS: Final = {"tokens": "tokens", "eflops": "FLOP", "seconds": "seconds", "usd": "USD"}
_NAMES: Final = {
    "repeated_sampling": "repeated sampling",
    "majority": "majority voting",
    "best_of_n": "best of n",
    "best_of_majority": "best of majority",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was compared, what was chosen of it, and for what.

    `enough`: where the target is not reached, the cheapest plan that would reach it without a budget.
    """

    found: Candidates
    chosen: Candidate
    choice: Choice
    wanted: Wanted
    offers: Sequence[Offer]
    enough: Candidate | None

    @property
    def same_model(self) -> NDArray[np.bool_]:
        """Which of all plans are the chosen model's."""
        return self.found.of(line.offer is self.chosen.line.offer for line in self.found.lines)

    @property
    def reaches(self) -> bool:
        """Whether there is a target and the plan reaches it."""
        target = self.wanted.target_accuracy
        return target is not None and self.chosen.accuracy >= target

    @property
    def finished(self) -> tuple[float, float]:
        """The shares of right and of wrong responses that are predicted to end within the plan's length."""
        offer = self.chosen.line.offer
        lengths, cap = offer.profile.lengths, offer.cut_at(self.chosen.line.max_tokens)
        if cap is None:
            return 1.0, 1.0
        return float(lengths.right.finished(cap)), float(lengths.wrong.finished(cap))

    @property
    def rates(self) -> Rates:
        """How often a right sample ends and is accepted, and a wrong one."""
        task = self.chosen.line.task
        rates = task.verifier.rates(self.chosen.line.options.accept_at)
        return Rates(rates.tpr * task.right_reach, rates.fpr * task.wrong_reach)


def described(candidate: Candidate) -> str:
    """The strategy in words, with its verifier where it has one."""
    line = candidate.line
    name = _NAMES[line.strategy]
    if candidate.samples == 1 and line.verifier is None:
        name = "a single sample"
    elif line.strategy == "best_of_n" and line.options.select != "argmax":
        name += f" ({line.options.select})"
    return f"{name} with {line.verifier.name}" if line.verifier else name


def cost_of(candidate: Candidate, unit: str) -> str:
    return amount(candidate.costs[unit], unit)


def amount(value: float, unit: str) -> str:
    """With its unit: 1 token, 3 seconds."""
    told, named = number(value), UNITS[unit]
    return f"{told} {named.removesuffix('s') if told == '1' else named}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"


def samples_of(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def tokens_of(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def sentence(text: str) -> str:
    """With a capital at the front; the rest, names among it, as it is."""
    return text[:1].upper() + text[1:]
