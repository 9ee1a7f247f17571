"""What drawing N samples costs, before their lengths are known: from a task's length distribution and a tariff."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from budgets.difficulty import Array
from budgets.fitting import Z90
from budgets.length_fitting import LengthFit
from budgets.tariff import Charge, Tariff
from budgets.voting import Counts

UNITS = ("eflops", "seconds", "usd")
_NODES = 512
_KNOTS = (1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096, 16384)
_READ_KNOTS = (1, 16, 256, 16384)
"""Numbers of samples at which calls, and readings of responses, are priced: each costs a fraction of a millisecond."""
_LOWER = 0.6
_LEAST_SPREAD = 0.05


@lru_cache(256)
def _quantiles(fit: LengthFit) -> tuple[Array, Array, Array]:
    """Shares, dense near 1, the lengths within which those of the responses end, and the shares' weights."""
    place = (np.arange(_NODES) + 0.5) / _NODES
    share, weight = 1 - (1 - place) ** 3, 3 * (1 - place) ** 2 / _NODES
    low = min(side.mean - 8 * side.sd for side in (fit.right, fit.wrong))
    high = max(side.mean + 8 * side.sd for side in (fit.right, fit.wrong))
    log = np.linspace(low, high, 4 * _NODES)
    ended = fit.right_share * ndtr((log - fit.right.mean) / fit.right.sd)
    ended += (1 - fit.right_share) * ndtr((log - fit.wrong.mean) / fit.wrong.sd)
    return share, np.exp(np.clip(np.interp(share, ended, log), 0.0, 50.0)), weight / weight.sum()


def length_within(fit: LengthFit, share: float) -> int:
    """Tokens within which that share of all responses end."""
    shares, lengths, _ = _quantiles(fit)
    return max(1, math.ceil(float(np.interp(share, shares, lengths))))


@lru_cache(1024)
def mean_tokens(fit: LengthFit, cap: int, longer: float = 1.0) -> float:
    """Mean tokens of a response cut at `cap`, all being so many times longer than they were."""
    _, lengths, weight = _quantiles(fit)
    return float(weight @ np.clip(lengths * longer, 1.0, cap))


@lru_cache(8192)
def sample_lengths(
    fit: LengthFit, cap: int, samples: int, longer: float = 1.0
) -> Sequence[tuple[float, float]]:
    """(How many sequences, tokens of each) of a call for so many: the longest, which sets its seconds, has the length
    to be expected of it, the others two levels; together they have `samples` times the mean."""
    share, lengths, weight = _quantiles(fit)
    cut = np.clip(lengths * longer, 1.0, cap)
    mean = float(weight @ cut)
    if samples == 1:
        return ((1.0, mean),)
    top = weight * share ** (samples - 1)
    longest = float(top @ cut / top.sum())
    rest = max(float(samples) - 1.0, samples * mean - longest)
    if samples == 2:
        return ((1.0, rest), (1.0, longest))
    edges = (0.0, _LOWER * (1 - 1 / samples), 1 - 1 / samples)
    means = [
        float(np.average(cut, weights=weight * ((share >= a) & (share < b)))) for a, b in pairwise(edges)
    ]
    counts = ((samples - 1) * _LOWER, (samples - 1) * (1 - _LOWER))
    scale = rest / sum(count * each for count, each in zip(counts, means, strict=True))
    return (
        *((count, min(each * scale, longest)) for count, each in zip(counts, means, strict=True)),
        (1.0, longest),
    )


def spread_of_lengths(fit: LengthFit, alike: float, samples: float) -> float:
    """Standard deviation of the log of a prompt's mean length, over prompts and over so many samples of one.

    `alike`: the share of the variance of log length that a prompt's samples have in common.
    """
    share = fit.right_share
    variance = share * fit.right.sd**2 + (1 - share) * fit.wrong.sd**2
    fitted = share * fit.right_mean_sd**2 + (1 - share) * fit.wrong_mean_sd**2
    return math.sqrt(fitted + variance * (alike + (1 - alike) / max(1.0, samples)))


@lru_cache(1024)
def _shares(samples: bytes, knots: tuple[int, ...]) -> tuple[Sequence[int], Array]:
    """The knots needed, and the share of each in the straight line through none and them: (K, len(samples))."""
    n = np.frombuffer(samples, dtype=int)
    most = int(n.max())
    needed = [knot for knot, before in zip(knots, (0, *knots), strict=False) if before < most]
    places = [0, *needed]
    return needed, np.array([np.interp(n, places, row) for row in np.eye(len(places))[1:]])


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Charges by the number of samples: as priced at a few numbers, on straight lines between them, 0 for none."""

    price: Callable[[int], Charge]
    knots: tuple[int, ...]
    known: dict[int, tuple[float, float, float]] = field(default_factory=dict)
    read: dict[bytes, Array] = field(default_factory=dict)

    def at(self, samples: Array | Counts) -> Array:
        """FLOP, seconds and USD: (3, len(samples))."""
        key = samples.tobytes()
        if key not in self.read:
            knots, shares = _shares(key, self.knots)
            self.read[key] = np.einsum("ku,kn->un", np.array([*map(self._priced, knots)]), shares)
        return self.read[key]

    def of(self, samples: int) -> Array:
        """The same of one number, as priced: (3,)."""
        return np.array(self._priced(samples))

    def _priced(self, samples: int) -> tuple[float, float, float]:
        found = self.known.get(samples)
        if found is None:
            charge = self.price(samples)
            found = self.known[samples] = (charge.eflops, charge.seconds, charge.usd)
        return found


@dataclass(frozen=True, eq=False)
class Calls:
    """What calls for N samples of a prompt cost, cut at `cap` tokens; nothing where nobody knows the tariff.

    `alike`: see `spread_of_lengths`. `longer`: as if lengths were so many times what they are.
    """

    tariff: Tariff | None
    prompt_tokens: int
    fit: LengthFit
    alike: float
    cap: int
    longer: float = 1.0

    @cached_property
    def tokens_each(self) -> float:
        return mean_tokens(self.fit, self.cap, self.longer)

    @cached_property
    def table(self) -> _Table:
        """FLOP, seconds and USD by the number of samples."""
        return _Table(self._price, _KNOTS)

    @cached_property
    def ends(self) -> tuple[Calls, Calls]:
        """The same where the lengths that all samples of a prompt share are at either end of their 90 % interval."""
        by = Z90 * max(_LEAST_SPREAD, spread_of_lengths(self.fit, self.alike, math.inf))
        return replace(self, longer=math.exp(-by)), replace(self, longer=math.exp(by))

    @cached_property
    def prompt_share(self) -> float:
        """Of a single sample's seconds, the share that the pass over the prompt takes."""
        whole = self.table.of(1)[UNITS.index("seconds")]
        prompt = self.tariff.reading(self.prompt_tokens).seconds if self.tariff else 0.0
        return min(1.0, prompt / whole) if whole > 0 else 1.0

    @cached_property
    def saved_by_stopping(self) -> float:
        """Of a sample's tokens, the share that is saved where it runs no longer than another one of its call."""
        (_, shorter), _ = sample_lengths(self.fit, self.cap, 2, self.longer)
        return 1 - shorter / mean_tokens(self.fit, self.cap, self.longer)

    @cached_property
    def saved(self) -> Array:
        """What a further call saves, the prompt lying in the prefix cache by then: (3, 1)."""
        if self.tariff is None or not self.prompt_tokens:
            return np.zeros((3, 1))
        whole, one = (self.tariff.reading(tokens) for tokens in (self.prompt_tokens, 1))
        return np.array([[max(0.0, getattr(whole, unit) - getattr(one, unit))] for unit in UNITS])

    def _price(self, samples: int) -> Charge:
        if self.tariff is None:
            return Charge()
        lengths = sample_lengths(self.fit, self.cap, samples, self.longer)
        return self.tariff.charge(self.prompt_tokens, lengths)


@dataclass(frozen=True, eq=False)
class Scoring:
    """What it costs to have the samples of `calls` scored: each is read with its prompt, `generates` tokens follow."""

    tariff: Tariff | None
    generates: int
    calls: Calls

    @cached_property
    def table(self) -> _Table:
        """FLOP, seconds and USD by the number of samples."""
        return _Table(self._price, _READ_KNOTS)

    @cached_property
    def ends(self) -> tuple[Scoring, Scoring]:
        """As those of `calls`."""
        low, high = self.calls.ends
        return replace(self, calls=low), replace(self, calls=high)

    def _price(self, samples: int) -> Charge:
        if self.tariff is None:
            return Charge()
        read = self.calls.prompt_tokens + self.calls.tokens_each
        return self.tariff.reading(read, samples, self.generates)
