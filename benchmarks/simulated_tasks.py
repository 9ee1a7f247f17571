"""Worlds of `engines/simulated` drawn from a seed, and what their model and their outcome reward gave, as arrays.

What is drawn is the simulated engine's own writing and the simulated reward's own scores, of whole responses, without
a cap: nothing here knows of the distributions that `budgets` fits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from engines.simulated.problems import Draws, RewardSettings, SimulatedSettings
from engines.simulated.words import decode
from engines.simulated.world import SimulatedWorld

_CHUNK = 100
_WHOLE = 1_000_000
_SEEDED = 1
"""The engine's word for samples that a request's seed determines."""


@dataclass(frozen=True, slots=True)
class World:
    """A task: the settings of a simulated world, and its seed. Plain values: it goes to another process as it is."""

    settings: SimulatedSettings
    seed: int

    @property
    def label(self) -> str:
        """What is particular to it, in one line."""
        s = self.settings
        return (
            f"accuracy {s.accuracy:.2f} ({s.concentration:.1f}), AUC {s.outcome.auc:.2f}, "
            f"spread {s.outcome.spread:.1f}, bias {s.outcome.bias:+.1f}, "
            f"{s.wrong_answers} wrong answers ({s.commonest:.2f}), "
            f"{s.steps[0]}-{s.steps[1]} steps of {s.step_tokens}"
        )


def draw_world(seed: int) -> World:
    """A plausible task, the same for the same seed.

    Mean accuracy of a sample 0.1 to 0.75, a + b of its Beta 0.7 to 8, AUC 0.6 to 0.92, spread 0.6 to 3 and bias ± 1 of
    the reward's logits, 3 to 60 wrong answers of which the commonest has 0.1 to 0.55 (geometric shares are evener where
    there are few), 2 to 16 steps of 16 to 64 tokens.
    """
    rng = random.Random(f"world {seed}")

    def between(low: float, high: float) -> float:
        """Even in the logarithm."""
        return low * math.exp(math.log(high / low) * rng.random())

    outcome = RewardSettings(
        auc=rng.uniform(0.6, 0.92), spread=between(0.6, 3.0), bias=rng.uniform(-1.0, 1.0)
    )
    fewest = rng.randint(2, 8)
    return World(
        SimulatedSettings(
            accuracy=rng.uniform(0.1, 0.75),
            concentration=between(0.7, 8.0),
            steps=(fewest, fewest + rng.randint(0, 8)),
            wrong_answers=round(between(3, 60)),
            commonest=rng.uniform(0.1, 0.55),
            step_tokens=round(between(16, 64)),
            length_spread=rng.uniform(0.1, 0.8),
            outcome=outcome,
        ),
        seed,
    )


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of each problem, all finished: arrays of (problems, samples)."""

    right: NDArray[np.bool_]
    answer: NDArray[np.int16]
    """0 is the right one, 1 … the problem's wrong ones, common ones first; -1 would be none."""
    tokens: NDArray[np.int32]
    score: NDArray[np.float64]
    """The outcome reward, in (0, 1)."""

    def __getitem__(self, problems: slice) -> Samples:
        """Those of some problems."""
        return Samples(
            self.right[problems], self.answer[problems], self.tokens[problems], self.score[problems]
        )

    def capped(self, cap: int) -> Samples:
        """The same where no sample may have more than `cap` tokens: those cut have no answer, and are not right."""
        cut = self.tokens > cap
        return Samples(
            self.right & ~cut,
            np.where(cut, np.int16(-1), self.answer),
            np.minimum(self.tokens, cap),
            self.score,
        )


_ARRAYS = tuple(field.name for field in fields(Samples))


def draw(
    world: World,
    problems: int,
    samples: int,
    *,
    start: int = 0,
    pool: Executor | None = None,
    folder: Path | None = None,
) -> Samples:
    """`samples` of each of the problems `start` … `start + problems - 1`; a pure function of these.

    In the processes of `pool`, where one is given; about 60 µs a sample on one core. A `folder` keeps what was drawn.
    """
    kept = None
    if folder is not None:
        name = crc32(repr((world, problems, samples, start)).encode())
        kept = folder / f"samples-{name:08x}.npz"
        if kept.exists():
            with np.load(kept) as arrays:
                return Samples(**arrays)
    indices = range(start, start + problems)
    chunks = [indices[at : at + _CHUNK] for at in range(0, problems, _CHUNK)]
    parts = list((pool.map if pool else map)(_drawn, repeat(world), chunks, repeat(samples)))
    found = Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS))
    if kept is not None:
        np.savez(kept, **{name: getattr(found, name) for name in _ARRAYS})
    return found


@lru_cache(2)
def _simulated(world: World) -> SimulatedWorld:
    return SimulatedWorld(world.settings, world.seed)


def _drawn(world: World, indices: Sequence[int], samples: int) -> Samples:
    simulated = _simulated(world)
    shape = len(indices), samples
    answer, tokens, score = np.zeros(shape, np.int16), np.zeros(shape, np.int32), np.zeros(shape)
    for row, index in enumerate(indices):
        problem = simulated.problem(index)
        places = {f" {number}.": place for place, number in enumerate(problem.answers)}
        begin = simulated.writer.path(problem, ())
        for column in range(samples):
            # What the engine writes for this prompt with `index` as the seed of its sampling.
            draws = Draws(world.seed, _SEEDED, index, 0, column)
            written = simulated.writer.write(problem, begin, draws, _WHOLE)
            text = decode(written)
            answer[row, column] = places[text[text.rindex(" ") :]]
            tokens[row, column] = len(written)
            score[row, column] = simulated.outcome_score(problem, text)
    return Samples(answer == 0, answer, tokens, score)
