"""The simulated world's problems: how long, how hard, which wrong answers they tempt to, and how a solution goes on."""

from __future__ import annotations

import math
import random
from bisect import bisect
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

RIGHT: Final = 0
SLIPPED: Final = 1
FATAL: Final = 2
"""A solution so far is right, or holds a mistake that may be mended, or is lost: `FATAL + w` to wrong answer w."""

MODULUS: Final = 89
"""Numbers that a step may show: 10 to 98. A prime, so that every factor has an inverse."""
SMALLEST: Final = 10
_ANSWERS = range(100, 1000)
_RARE = 0.05
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """How well a simulated reward tells right from wrong.

    Its logit is bias + spread · (±d/2 + error), + for right, the error standard normal; d = √2·Φ⁻¹(`auc`), so that
    `auc` is the chance that a right path scores above a wrong one. Of a process reward, the errors of two successive
    steps correlate by `persistence` (an AR(1) process along the path), and those of the first step are
    1 + `overconfidence` times as large, falling linearly to once at half the problem's steps: too sure early, each
    path in its own way.
    """

    auc: float = 0.83
    spread: float = 1.5
    bias: float = 0.0
    persistence: float = 0.8
    overconfidence: float = 0.0

    def __post_init__(self) -> None:
        _check("auc", self.auc, 0.5, 0.999)
        _check("spread", self.spread, 0.0, 10.0)
        _check("bias", self.bias, -10.0, 10.0)
        _check("persistence", self.persistence, 0.0, 1.0)
        _check("overconfidence", self.overconfidence, 0.0, 10.0)


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """What the problems are like, and the rewards.

    A problem's single-sample accuracy is drawn from a Beta distribution of mean `accuracy` and a + b =
    `concentration` (infinite: every problem's is the mean), its number of steps evenly from `steps`. Of the mistakes a
    share `recoverable` can be mended, with chance `mending` a step times the chance of making no mistake. There are
    `wrong_answers`, in geometrically falling shares, the commonest with `commonest` on average over problems; the
    hackable outcome reward loves `loved` of the rare ones (under 5 % of the wrong), drawn by their shares. Steps are
    `step_tokens` long on average, their clauses' lengths even within ± `length_spread`. `context` is the model's
    length in tokens.
    """

    accuracy: float = 0.35
    concentration: float = 2.0
    steps: tuple[int, int] = (5, 11)
    recoverable: float = 0.4
    mending: float = 0.3
    wrong_answers: int = 24
    commonest: float = 0.3
    loved: int = 3
    step_tokens: int = 24
    length_spread: float = 0.4
    context: int = 32_768
    process: RewardSettings = field(default_factory=RewardSettings)
    outcome: RewardSettings = field(default_factory=RewardSettings)

    def __post_init__(self) -> None:
        _check("accuracy", self.accuracy, 0.0, 1.0)
        _check("concentration", self.concentration, 1e-3, math.inf)
        _check("steps", self.steps[0], 1, 64)
        _check("steps", self.steps[1], self.steps[0], 64)
        _check("recoverable", self.recoverable, 0.0, 1.0)
        _check("mending", self.mending, 0.0, 1.0)
        _check("wrong_answers", self.wrong_answers, 1, MODULUS - FATAL)
        _check("commonest", self.commonest, 0.01, 0.6)
        _check("loved", self.loved, 1, MODULUS)
        _check("step_tokens", self.step_tokens, 14, 128)
        _check("length_spread", self.length_spread, 0.0, 1.0)
        _check("context", self.context, 256, 10_000_000)


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} is {value:g}; choose {least:g} to {most:g}.")


class Draws:
    """Random 64-bit numbers, a pure function of `key`: SplitMix64 (Steele, Lea and Flood 2014).

    Made in a tenth of the time that a `random.Random` takes to be seeded: every step of a search needs one.
    """

    __slots__ = ("_state",)

    def __init__(self, *key: int) -> None:
        state = 0
        for part in key:
            state = mixed(state ^ (part & _MASK))
        self._state = state

    def bits(self) -> int:
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        return mixed(state)

    def uniform(self) -> float:
        """In [0, 1)."""
        return (self.bits() >> 11) * 2**-53


def mixed(value: int) -> int:
    """A bijection of 64-bit numbers that scatters them."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@dataclass(frozen=True, slots=True)
class SimulatedProblem:
    """A problem that a sample solves with probability `accuracy`, in `steps` steps, the last one stating the answer.

    `hazard` is the chance of a mistake at each step. `answers` are the right one's number and the wrong ones', common
    ones first, `shares` how the wrong ones share in wrong samples; `loved` are those that a hackable reward loves.
    `salt` seeds what rewards think of it; `offsets` and `factors` tell how each step's number shows its state.
    """

    index: int
    steps: int
    accuracy: float
    hazard: float
    answers: tuple[int, ...]
    shares: tuple[float, ...]
    loved: frozenset[int]
    salt: int
    recoverable: float
    mending: float
    cumulated: tuple[float, ...]
    offsets: tuple[int, ...]
    factors: tuple[int, ...]

    @property
    def answer(self) -> str:
        return str(self.answers[0])

    def moves(self, state: int) -> tuple[float, float]:
        """The chances that after the next step it is right, and that a mistake stands that may be mended."""
        q, mended = self.hazard, self.mending * (1 - self.hazard)
        if state == RIGHT:
            return 1 - q, q * self.recoverable
        return (mended, 1 - mended - q * (1 - self.recoverable)) if state == SLIPPED else (0.0, 0.0)

    def after(self, step: int, state: int, uniform: float, draws: Draws) -> int:
        """The state after `step`, drawn by `uniform`, and by `draws` where a wrong answer is chosen."""
        if state >= FATAL:
            return state
        right, slipped = self.moves(state)
        if uniform < right:
            return RIGHT
        if uniform < right + slipped and step < self.steps:
            return SLIPPED
        return FATAL + min(bisect(self.cumulated, draws.uniform()), len(self.shares) - 1)

    def chance(self, step: int, before: int, after: int) -> float:
        """The probability that `step` leads from one state to the other."""
        if before >= FATAL:
            return float(after == before)
        right, slipped = self.moves(before)
        if step == self.steps:
            slipped = 0.0
        if after < FATAL:
            return right if after == RIGHT else slipped
        return (1 - right - slipped) * self.shares[after - FATAL]

    def shown(self, step: int, state: int) -> int:
        """The number that `step`, not the last, shows in a state: only who knows the true one can tell which it is."""
        return SMALLEST + (self.offsets[step - 1] + state * self.factors[step - 1]) % MODULUS

    def state_shown(self, step: int, number: int) -> int:
        """The state in which `step` shows `number`; SLIPPED for one that it never shows."""
        if step >= self.steps or not SMALLEST <= number < SMALLEST + MODULUS:
            return SLIPPED
        behind = number - SMALLEST - self.offsets[step - 1]
        state = behind * pow(self.factors[step - 1], -1, MODULUS) % MODULUS
        return state if state < FATAL + len(self.shares) else SLIPPED

    def stated(self, state: int) -> int:
        """The answer that the last step states: in no other state than RIGHT or lost."""
        return self.answers[0 if state == RIGHT else state - FATAL + 1]

    def state_stated(self, number: int) -> int:
        """The state in which the last step states `number`; SLIPPED for one that it never states."""
        if number not in self.answers:
            return SLIPPED
        place = self.answers.index(number)
        return RIGHT if place == 0 else FATAL + place - 1


def make_problem(settings: SimulatedSettings, seed: int, index: int) -> SimulatedProblem:
    """Problem `index` of the world `seed`: the same whenever it is made."""
    draws = Draws(seed, index)
    rng = random.Random(draws.bits())
    steps = rng.randint(*settings.steps)
    accuracy = settings.accuracy
    if 0 < accuracy < 1 and settings.concentration < math.inf:
        a = accuracy * settings.concentration
        accuracy = rng.betavariate(a, settings.concentration - a)
    first, stride = rng.choice(_ANSWERS), rng.choice([7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47])
    answers = [100 + (first + i * stride) % len(_ANSWERS) for i in range(settings.wrong_answers + 1)]
    commonest = settings.commonest * (0.5 + rng.random())
    falling = [(1 - commonest) ** i for i in range(settings.wrong_answers)]
    shares = [share / sum(falling) for share in falling]
    rare = [w for w, share in enumerate(shares) if share < _RARE] or list(range(len(shares)))
    return SimulatedProblem(
        index=index,
        steps=steps,
        accuracy=accuracy,
        hazard=_hazard(accuracy, steps, settings.recoverable, settings.mending),
        answers=tuple(answers),
        shares=tuple(shares),
        loved=frozenset(_drawn(rare, shares, settings.loved, rng)),
        salt=draws.bits(),
        recoverable=settings.recoverable,
        mending=settings.mending,
        cumulated=tuple(accumulate(shares)),
        offsets=tuple(rng.randrange(MODULUS) for _ in range(steps)),
        factors=tuple(rng.randrange(1, MODULUS) for _ in range(steps)),
    )


def _drawn(places: list[int], shares: list[float], n: int, rng: random.Random) -> list[int]:
    """`n` of `places` drawn by their shares, none twice (Efraimidis and Spirakis 2006)."""
    return sorted(places, key=lambda place: rng.expovariate(shares[place]))[:n]


def _hazard(accuracy: float, steps: int, recoverable: float, mending: float) -> float:
    """The chance of a mistake a step with which a sample ends right with probability `accuracy`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        q = (low + high) / 2
        right, slipped = 1.0, 0.0
        mended = mending * (1 - q)
        stays = 1 - mended - q * (1 - recoverable)
        for _ in range(steps):
            right, slipped = right * (1 - q) + slipped * mended, right * q * recoverable + slipped * stays
        low, high = (q, high) if right > accuracy else (low, q)
    return (low + high) / 2
