"""The account of one request: reserve before a call, settle after it, never above a cap."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from budgets.budget import Budget, BudgetExhausted, Unit
from budgets.tariff import Charge

MIN_SHARE = 16
"""Tokens a sequence should get at least; below it a call is given fewer sequences instead of shorter ones."""

NOTHING = Charge()
_ROUNDING = 1e-9
"""What two ways of adding up the same charge may differ by, relative to it."""

T = TypeVar("T", int, float)
Price = Callable[[int, int], Charge]
"""What a call of so many sequences costs at most, each with so many tokens; more of either never cost less."""


def unpriced(sequences: int, tokens_each: int) -> Charge:
    """The price of calls that nothing is known of, or that cost nothing."""
    return NOTHING


@dataclass(slots=True)
class Spent:
    """What has been spent so far.

    `tokens` are all generated tokens, a verifier's included; `prompt_tokens` the generator's prompts as the engine
    counts them, `cached_tokens` those of them found in its prefix cache; `verifier_tokens` what verifiers that are
    models read; `charge` what calls with a price cost; `engine_seconds` the time that calls to the generator took.
    """

    samples: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    verifier_tokens: int = 0
    charge: Charge = NOTHING
    engine_seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """Room set aside for one call: `sequences` of at most `tokens_each`; `samples` of them count as begun.

    `charge` is what it may cost at most. `trimmed_by` names the cap that made it smaller than was asked, if one did.
    """

    sequences: int
    tokens_each: int
    samples: int
    charge: Charge
    trimmed_by: Unit | None

    @property
    def tokens(self) -> int:
        """Most tokens the call may generate."""
        return self.sequences * self.tokens_each


class Ledger:
    """Keeps one request within its `Budget`.

    Every call is reserved in full before it is made, so that spent + reserved never exceeds a cap whatever calls
    overlap, fail or are cancelled. `aside` tokens and `aside_charge` are kept free for verdicts still to come.
    `most_samples`: fewer than the budget allows, where so many are enough. The deadline counts from construction, by
    `clock` (seconds, monotonic): the budget's, or `most_seconds` where that is sooner.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_seconds: float | None = None,
    ) -> None:
        self.budget = budget
        self.spent = Spent()
        self.aside = 0
        self.aside_charge = NOTHING
        self.most_samples = budget.samples
        self._clock = clock
        self._began = clock()
        self._stands: float | None = None
        self._deadline = min((s for s in (budget.seconds, most_seconds) if s is not None), default=None)
        self._open: set[Reservation] = set()

    @property
    def seconds(self) -> float:
        """Seconds since the ledger was opened."""
        return self._clock() - self._began if self._stands is None else self._stands

    def stand(self, seconds: float) -> None:
        """Let the clock stand at `seconds`: what an earlier run did takes no time again."""
        self._stands = seconds

    def go_on(self) -> None:
        """Let the clock go on from where it stands."""
        if self._stands is not None:
            self._began, self._stands = self._clock() - self._stands, None

    @property
    def samples_left(self) -> int:
        most = min(self.budget.samples, self.most_samples)
        return most - self.spent.samples - sum(r.samples for r in self._open)

    @property
    def tokens_left(self) -> int | None:
        if self.budget.tokens is None:
            return None
        return self.budget.tokens - self.spent.tokens - self.aside - sum(r.tokens for r in self._open)

    @property
    def seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self.seconds)

    def lower(self, *, tokens: int | None = None, usd: float | None = None) -> None:
        """Lower these caps, where they are higher than that or there are none; None leaves one as it is."""
        budget = self.budget
        self.budget = replace(budget, tokens=_least(budget.tokens, tokens), usd=_least(budget.usd, usd))

    @property
    def overspent(self) -> bool:
        """Whether more than a cap was spent: never."""
        budget, spent = self.budget, self.spent
        amounts = (
            (budget.samples, spent.samples),
            (budget.tokens, spent.tokens),
            (budget.eflops, spent.charge.eflops),
            (budget.usd, spent.charge.usd),
        )
        return any(cap is not None and amount > cap * (1 + _ROUNDING) for cap, amount in amounts)

    def exceeded(self, charge: Charge) -> Unit | None:
        """The first cap that a call of that price would not keep to, beside what is spent, reserved and kept aside."""
        if not self.budget.priced:
            return None
        total = sum((r.charge for r in self._open), self.spent.charge + self.aside_charge + charge)
        if self.budget.eflops is not None and total.eflops > self.budget.eflops:
            return "eflops"
        return "usd" if self.budget.usd is not None and total.usd > self.budget.usd else None

    def reserve(
        self,
        sequences: int,
        tokens_each: int,
        *,
        begins: bool = True,
        aside: int = 0,
        whole: bool = False,
        price: Price = unpriced,
        beside: Price = unpriced,
    ) -> Reservation:
        """Set room aside for `sequences` of `tokens_each`, trimmed to what fits.

        Shares of the tokens left are cut first, down to `MIN_SHARE`, then the number of sequences; so too where
        `price` is above what is left of eFLOPs or USD. `begins` says whether each is a new sample (a continuation or a
        verdict is not). Room for a verdict on each, `aside` more tokens and what `beside` says that they cost, is made
        sure of as well, and not reserved. `whole` sequences get all their tokens or are left out. Raises
        BudgetExhausted where not even one token fits.
        """
        reservation = self._trim(sequences, tokens_each, begins, aside, whole, price, beside)
        if not isinstance(reservation, Reservation):
            raise BudgetExhausted(reservation)
        self._open.add(reservation)
        return reservation

    def reopen(self, sequences: int, tokens_each: int, charge: Charge, *, begins: bool = True) -> Reservation:
        """The reservation of a call that an earlier run has paid for: it is open again, whatever the caps are now."""
        reservation = Reservation(sequences, tokens_each, sequences if begins else 0, charge, None)
        self._open.add(reservation)
        return reservation

    def settle(
        self,
        reservation: Reservation,
        tokens: int,
        *,
        prompt_tokens: int = 0,
        cached_tokens: int = 0,
        verifier_tokens: int = 0,
        charge: Charge = NOTHING,
        engine_seconds: float = 0.0,
    ) -> None:
        """Charge what a call spent and free the rest of its reservation.

        Raises ValueError where the call claims more than was reserved (nothing is charged then).
        """
        if not 0 <= tokens <= reservation.tokens:
            raise ValueError(f"a call that reserved {reservation.tokens} tokens cannot settle {tokens}")
        reserved = reservation.charge
        for unit in ("eflops", "usd"):
            claimed, most = getattr(charge, unit), getattr(reserved, unit)
            if not 0 <= claimed <= most * (1 + _ROUNDING):
                raise ValueError(f"a call that reserved {most:g} {unit} cannot settle {claimed:g}")
        self.release(reservation)
        self.spent.samples += reservation.samples
        self.spent.tokens += tokens
        self.spent.prompt_tokens += prompt_tokens
        self.spent.cached_tokens += cached_tokens
        self.spent.verifier_tokens += verifier_tokens
        self.spent.charge += charge.within(reserved)
        self.spent.engine_seconds += engine_seconds

    def release(self, reservation: Reservation) -> None:
        """Free a reservation whose call spent nothing. Raises ValueError if it is not open."""
        if reservation not in self._open:
            raise ValueError("this reservation was settled or released already")
        self._open.remove(reservation)

    def _trim(
        self,
        sequences: int,
        tokens_each: int,
        begins: bool,
        aside: int,
        whole: bool,
        price: Price,
        beside: Price,
    ) -> Reservation | Unit:
        if sequences < 1 or tokens_each < 0 or aside < 0:
            raise ValueError("a reservation needs at least one sequence and no negative tokens")
        if self.seconds_left == 0.0:
            return "seconds"
        trimmed_by: Unit | None = None
        if begins and sequences > self.samples_left:
            sequences, trimmed_by = self.samples_left, "samples"
            if not sequences:
                return "samples"
        left = self.tokens_left
        if left is not None and sequences * (tokens_each + aside) > left:
            trimmed_by = "tokens"
            least = tokens_each if whole else min(tokens_each, MIN_SHARE)
            sequences = min(sequences, max(1, left // (least + aside)))
            tokens_each = min(tokens_each, left // sequences - aside)
            if tokens_each < (least if whole else 1):
                return "tokens"

        def both(sequences: int, tokens_each: int) -> Charge:
            return price(sequences, tokens_each) + beside(sequences, tokens_each)

        if too_dear := self.exceeded(both(sequences, tokens_each)):
            trimmed_by = too_dear
            sequences, tokens_each = self._affordable(sequences, tokens_each, whole, both)
            if not sequences:
                return too_dear
        charge = price(sequences, tokens_each)
        return Reservation(sequences, tokens_each, sequences if begins else 0, charge, trimmed_by)

    def _affordable(self, sequences: int, tokens_each: int, whole: bool, price: Price) -> tuple[int, int]:
        """The largest call within the caps on its price: tokens are cut down to a share, then sequences; 0 for none."""

        def fits(sequences: int, tokens_each: int) -> bool:
            return self.exceeded(price(sequences, tokens_each)) is None

        least = tokens_each if whole else min(tokens_each, MIN_SHARE)
        if not fits(sequences, least):
            sequences = _most(lambda n: fits(n, least), sequences - 1)
            if sequences or whole:
                return sequences, least
            share = _most(lambda tokens: fits(1, tokens), least - 1)
            return min(1, share), share
        return sequences, max(least, _most(lambda tokens: fits(sequences, tokens), tokens_each - 1))


def _least(*caps: T | None) -> T | None:
    """The lowest of the caps that there are."""
    return min((cap for cap in caps if cap is not None), default=None)


def _most(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1 … `most` that fits, where all below one that fits do so too; 0 where none does."""
    return bisect_right(range(1, most + 1), False, key=lambda n: not fits(n)) if most > 0 else 0
