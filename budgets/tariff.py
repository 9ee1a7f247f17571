"""What a model's calls cost where it runs: eFLOPs by the cost law, seconds by the roofline, USD by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Final

from budgets.checks import check_number
from budgets.hardware import Hardware
from budgets.latency import Factors, Work, timed_decode, timed_prefill
from budgets.models import ModelShape
from budgets.workload import Depth, Workload

SECONDS_AN_HOUR: Final = 3600
_LEVELS: Final = 16
"""Different lengths of a call's sequences that are told apart; more are rounded up to so many."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What work costs: eFLOPs in FLOP, seconds, USD; `usd` is 0 where no price is known."""

    eflops: float = 0.0
    seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.eflops + other.eflops, self.seconds + other.seconds, self.usd + other.usd)

    def __mul__(self, times: float) -> Charge:
        return Charge(self.eflops * times, self.seconds * times, self.usd * times)

    def within(self, most: Charge) -> Charge:
        """This charge, or `most` where that is less."""
        return Charge(*map(min, astuple(self), astuple(most)))


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model on its hardware. `usd_per_hour` of all of it, None where there is no price.

    `concurrency`: requests that usually run at once; they share the reading of weights, and a decode step's price.
    `factors`: how much longer calls take than the roofline says.
    """

    shape: ModelShape
    hardware: Hardware
    usd_per_hour: float | None = None
    concurrency: float = 1.0
    factors: Factors = field(default_factory=Factors)

    def __post_init__(self) -> None:
        check_number("concurrency", self.concurrency, least=1)
        if self.usd_per_hour is not None:
            check_number("usd_per_hour", self.usd_per_hour)

    def workload(
        self,
        prompt_tokens: float,
        lengths: Sequence[tuple[float, float]],
        *,
        cached_tokens: float | None = None,
        past: float = 0,
    ) -> Workload:
        """One engine call: `lengths` are (how many sequences, tokens of each), all after one prompt.

        `past`: where the sequences go on from, the mean of what they hold beyond the prompt, which is cached.
        `cached_tokens` of the prompt are not computed again: by default none, or all with a past. More than 16
        different lengths are rounded up to so many. More sequences, or longer ones, never cost less.
        """
        alive = sum(count for count, _ in lengths)
        depths: list[Depth] = []
        held = 0.0
        for count, tokens in _levels(sorted(lengths, key=lambda length: length[1])):
            if tokens > held or not depths:
                depths.append(Depth(max(1.0, alive), tokens - held))
                held = tokens
            alive -= count
        return Workload.search(
            prompt_tokens,
            depths,
            concurrency=self.concurrency,
            cached_tokens=(prompt_tokens if past else 0) if cached_tokens is None else cached_tokens,
            past=past,
        )

    def charge(
        self,
        prompt_tokens: float,
        lengths: Sequence[tuple[float, float]],
        *,
        cached_tokens: float | None = None,
        past: float = 0,
    ) -> Charge:
        """What one engine call costs; see `workload`."""
        return self.price(self.workload(prompt_tokens, lengths, cached_tokens=cached_tokens, past=past))

    def reading(self, tokens: float, times: float = 1, generated: float = 0) -> Charge:
        """What a verifier's call costs: it reads so many texts of `tokens` each, and generates `generated` after."""
        if times <= 0:
            return Charge()
        concurrency = self.concurrency
        return self.price(
            Workload(tokens, generated, max(1.0, times), share_prompt=False, concurrency=concurrency)
        )

    def price(self, workload: Workload) -> Charge:
        """What a workload costs here, its verifier's left out. A decode step's price is shared out among the requests
        that run at once."""
        begun, gone_on = self._parts(workload)
        prefill, decode = begun.seconds * self.factors.prefill, gone_on.seconds * self.factors.decode
        hours = (prefill + decode / workload.concurrency) / SECONDS_AN_HOUR
        read = (begun.read + gone_on.read) * self.hardware.arithmetic_intensity
        return Charge(begun.flop + gone_on.flop + read, prefill + decode, hours * (self.usd_per_hour or 0.0))

    def roofline(self, workload: Workload) -> tuple[float, float]:
        """Seconds of prefill and of decoding, before the factors."""
        prefill, decode = self._parts(workload)
        return prefill.seconds, decode.seconds

    def _parts(self, workload: Workload) -> tuple[Work, Work]:
        return (
            timed_prefill(self.shape, self.hardware, workload),
            timed_decode(self.shape, self.hardware, workload),
        )


def _levels(lengths: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """The same sequences at no more than `_LEVELS` lengths, each rounded up to the next that is kept."""
    distinct = sorted({tokens for _, tokens in lengths})
    if len(distinct) <= _LEVELS:
        return lengths
    kept = [distinct[(i + 1) * len(distinct) // _LEVELS - 1] for i in range(_LEVELS)]
    levels: list[tuple[float, float]] = []
    place = 0
    for count, tokens in lengths:
        while kept[place] < tokens:
            place += 1
        levels.append((count, kept[place]))
    return levels
