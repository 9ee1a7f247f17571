"""The plans that are compared: for a model, a length, a verifier and a strategy, a line over the number of samples."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from budgets.call_costs import Calls, Scoring, length_within
from budgets.curves import Curve, Judged, curve, grid, grid_weights, hinted, judged
from budgets.difficulty import Array
from budgets.lengths import LogNormal
from budgets.plans import Offer, VerifierOffer, Wanted
from budgets.prediction import Options, Strategy, Task, outcomes
from budgets.uncertainty import FittedTask
from budgets.verifier_quality import Empirical, Rates
from budgets.voting import EXACT_ANSWERS, MOST_VOTES, Counts
from budgets.waves import waves

_SHARES = (0.75, 0.95, 0.999)
_SHORT_SHARES = (0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Shares of the responses that end within the lengths tried; the short ones, of right ones, where nothing else fits."""
_FIRST = (
    *range(1, 17),
    18,
    20,
    22,
    24,
    28,
    32,
    36,
    40,
    48,
    56,
    64,
    72,
    80,
    96,
    112,
    128,
    144,
    160,
    192,
    224,
    256,
)
_SAMPLES = (*_FIRST, *(step << shift for shift in range(6) for step in (320, 384, 448, 512)))
_COARSE = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128)
_MOST_WEIGHED = 128
"""Votes with rewards gain next to nothing beyond, and their tables take a second each."""
_ACCEPTED = (0.5, 0.2)
"""Shares of the right responses that repeated sampling accepts, beside its own default of a score of 0.5."""
_TEMPERATURES = (0.05, 0.2)
_FALLS = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Plans that differ in their number of samples alone."""

    offer: Offer
    verifier: VerifierOffer | None
    max_tokens: int
    strategy: Strategy
    options: Options
    params: Mapping[str, Any]
    fitted: FittedTask
    task: Task
    judged: Judged
    curve: Curve
    calls: Calls
    scoring: Scoring | None

    @property
    def ended(self) -> float:
        """Of the right responses that there is room for, the share that ends within the length."""
        known = self.offer.profile
        return _ended(known.lengths.right, self.max_tokens, min(self.offer.room, known.cap or math.inf))

    def most(self, allowed: int) -> int:
        """The most samples to look at, of so many allowed."""
        if self.strategy == "best_of_majority" or self.options.select == "weighted":
            return min(allowed, _MOST_WEIGHED)
        return min(allowed, MOST_VOTES) if self.strategy == "majority" else allowed

    def samples(self, allowed: int) -> list[int]:
        """The numbers of samples to look at, of so many allowed; where k answers are returned, k and powers of two."""
        k, most = self.options.k, self.most(allowed)
        if k > 1:  # each of them takes up to k times as long as for one answer
            return [n for n in (k, *(1 << i for i in range(k.bit_length(), most.bit_length()))) if n <= most]
        steps = _COARSE if self.strategy == "best_of_majority" else _SAMPLES
        return list(steps[: bisect_right(steps, most)])

    def accuracies(self, samples: Sequence[int]) -> Array:
        return self.curve.mean(samples, self.task.difficulty)

    def costs(self, samples: Sequence[int]) -> dict[str, Array]:
        """Means of tokens, eflops, seconds and usd; nan where nobody knows."""
        n = np.asarray(samples)
        if self.strategy == "repeated_sampling":
            spent, draws = self._waves(n, self.goes_on)
        else:
            spent, draws = self._charges(n), n
        return self._units(spent, draws)

    def goes_on(self, drawn: Array) -> Array:
        """The chance that none of so many samples is accepted."""
        right, wrong = self._accepted()
        missed = _misses(right + wrong, drawn)
        return np.asarray(np.clip(missed @ grid_weights(self.task.difficulty), 0.0, 1.0))

    def answers(self, samples: Sequence[int]) -> tuple[Array, Array]:
        """The chances of a right and of a wrong answer; none where no sample ends, or the verifier accepts none."""
        n, weights = np.asarray(samples, dtype=float), grid_weights(self.task.difficulty)
        if self.strategy != "repeated_sampling":
            some = 1 - _misses(np.add(*outcomes(self.task, grid())), n) @ weights
            right = np.minimum(self.accuracies(samples), some)
            return right, np.asarray(some - right)
        parts = self._accepted()
        accepts = parts[0] + parts[1]
        some = (1 - _misses(accepts, n)) * weights
        shares = (np.divide(part, accepts, out=np.zeros_like(part), where=accepts > 0) for part in parts)
        right, wrong = (some @ share for share in shares)
        return right, wrong

    def _accepted(self) -> tuple[Array, Array]:
        """The chances that a sample is right and accepted, and wrong and accepted, at each p of the grid."""
        rates = _rates(self.judged, self.options.accept_at)
        right, wrong = outcomes(self.task, grid())
        return right * rates.tpr, wrong * rates.fpr

    def certain(self, drawn: int) -> dict[str, Array]:
        """The costs where exactly so many are drawn."""
        n = np.array([drawn])
        if self.strategy == "repeated_sampling":
            return self._units(*self._waves(n, np.ones_like))
        return self._units(self._charges(n), n)

    def _charges(self, samples: Array | Counts) -> Array:
        charges = self.calls.table.at(samples)
        return charges + self.scoring.table.at(samples) if self.scoring else charges

    def _waves(self, n: Array, goes_on: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Spent and drawn in waves, as far as `goes_on` says."""
        drawn = waves(n.tobytes())
        return drawn.spent(
            self._charges(drawn.sizes), self.calls.saved, self.calls.saved_by_stopping, goes_on
        )

    def _units(self, spent: Array, draws: Array) -> dict[str, Array]:
        tariff = self.offer.tariff
        unknown = np.full(len(draws), math.nan)
        eflops, seconds, usd = spent
        each = self.calls.tokens_each + (self.scoring.generates if self.scoring else 0)
        return {
            "tokens": draws * each,
            "eflops": eflops if tariff else unknown,
            "seconds": seconds if tariff else unknown,
            "usd": usd if tariff and tariff.usd_per_hour is not None else unknown,
        }


def lengths_tried(offer: Offer, wanted: Wanted, short: bool = False) -> list[int]:
    """The caps on a sample's tokens to look at: quantiles of the lengths, or what was measured in place of the largest,
    and a token budget that is below these; never more than there is room for."""
    lengths = offer.profile.lengths
    if short:
        tried = {max(1, math.ceil(lengths.right.quantile(share))) for share in _SHORT_SHARES}
    else:
        tried = {length_within(lengths, share) for share in _SHARES}
    if offer.profile.cap is not None:
        tried = {min(length, offer.profile.cap) for length in tried}
    tokens = wanted.caps.tokens
    if tokens is not None and tokens < min(tried):
        tried.add(_rounded(tokens))
    return sorted({min(length, offer.room) for length in tried})


def _rounded(tokens: float) -> int:
    """Down to an eighth of a power of two, so that budgets that hardly differ share a curve."""
    step = 1 << max(0, math.floor(math.log2(tokens)) - 3)
    return math.floor(tokens) // step * step


def lines_of(offer: Offer, wanted: Wanted, short: bool = False) -> Iterator[Line]:
    """Every line of an offer: voting without a verifier, and each strategy with each verifier."""
    lengths = lengths_tried(offer, wanted, short)
    known, tokens = offer.profile, offer.prompt_tokens
    calls = [Calls(offer.tariff, tokens, known.lengths, known.alike, length) for length in lengths]
    # What a cap leaves is the same whoever verifies, and slow to work out.
    cut = [known.fitted(None, offer.cut_at(each.cap)) for each in calls]
    if wanted.difficulty is not None:
        cut = [replace(fit, difficulty=hinted(fit.difficulty, wanted.difficulty)) for fit in cut]
    for verifier in (None, *offer.verifiers):
        measured = known.fitted(verifier.name if verifier else None)
        quality = judged(measured.task.verifier)
        for each, left in zip(calls, cut, strict=True):
            fitted = replace(left, verifier=measured.verifier)
            scoring = Scoring(verifier.tariff, verifier.generates, each) if verifier else None
            task = fitted.task
            for strategy, params in _strategies(task, quality, wanted, verifier is not None):
                options = _options(wanted.k, params)
                kept = curve(strategy, task, quality, options)
                yield Line(
                    offer,
                    verifier,
                    each.cap,
                    strategy,
                    options,
                    params,
                    fitted,
                    task,
                    quality,
                    kept,
                    each,
                    scoring,
                )


def _options(k: int, params: Mapping[str, Any]) -> Options:
    return Options(k=k, **{name: value for name, value in params.items() if name != "stop"})


def _strategies(
    task: Task, known: Judged, wanted: Wanted, verified: bool
) -> Iterator[tuple[Strategy, Mapping[str, Any]]]:
    if not verified:
        yield "majority", {"stop": "never"}
        return
    yield "best_of_n", {"select": "argmax"}
    yield "best_of_n", {"select": "weighted"}
    yield "best_of_majority", {"alpha": 0.1}
    # Of many answers the first accepted one is but one, and how their scores are weighed hardly matters.
    many = wanted.k > EXACT_ANSWERS
    for mark in sorted({0.5, *(_mark(known, share) for share in _ACCEPTED if not many)}):
        yield "repeated_sampling", {"accept_at": mark}
    places = [n for n in (1, 4, 16, 64, 256) if wanted.k <= n <= wanted.samples_allowed]
    if many or not places:
        return
    found = curve("best_of_n", task, known, Options(k=wanted.k)).mean(places, task.difficulty)
    if found[-1] < found.max() - _FALLS:
        for temperature in _TEMPERATURES:
            yield "best_of_n", {"select": "softmax", "temperature": temperature * _scale(known)}


@lru_cache(1024)
def _ended(right: LogNormal, max_tokens: int, room: float) -> float:
    return float(right.finished(max_tokens)) / max(1e-300, float(right.finished(room)))


@lru_cache(512)
def _mark(known: Judged, share: float) -> float:
    """The score that so many of the right responses reach; 0.5 where a verdict is yes or no."""
    scores = known.quality.grid()
    if len(scores.score) <= 2:
        return 0.5
    place = int(np.searchsorted(np.cumsum(scores.right), 1 - share))
    return float(
        np.format_float_positional(scores.score[min(place, len(scores.score) - 1)], 3, fractional=False)
    )


@lru_cache(512)
def _rates(known: Judged, mark: float) -> Rates:
    return known.quality.rates(mark)


@lru_cache(512)
def _scale(known: Judged) -> float:
    """What a softmax's temperature is in units of: 1 where scores are in [0, 1]."""
    quality = known.quality
    if not isinstance(quality, Empirical):
        return 1.0
    scores = np.array([*quality.right, *quality.wrong])
    return 1.0 if scores.min() >= 0 and scores.max() <= 1 else max(0.01, float(np.ptp(scores)))


def _misses(chance: Array, times: Array) -> Array:
    """The chance that what happens with `chance` has not happened so many times: (len(times), len(chance))."""
    return np.asarray(np.exp(np.outer(times, np.log1p(-np.clip(chance, 0.0, 1 - 1e-15)))))
