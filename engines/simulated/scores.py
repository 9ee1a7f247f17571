"""What the simulated rewards think of a solution, from its text alone, and which steps mean the same."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final
from zlib import crc32

from engines.simulated.problems import FATAL, RIGHT, SLIPPED, RewardSettings, SimulatedProblem, mixed
from engines.simulated.words import APPROACHES, SEPARATOR

DIMENSIONS: Final = 64
"""Numbers in an embedding."""

_NORMAL = NormalDist()
_STATED = " answer is"
_SHOWN = tuple("".join(approach) for approach in APPROACHES)
_MOST_LOGIT = 30.0
_LOVED_LOGIT = 4.0
_OUTCOME_SALT = 0x6F7574636F6D65
_NOISE = 0.1
_WORD = re.compile(r"\w+")


def state_after(problem: SimulatedProblem, steps: Sequence[str]) -> int:
    """The state after the last of `steps`: that of the last one which shows a number."""
    for place in range(len(steps), 0, -1):
        state = _state_shown(problem, place, steps[place - 1])
        if state is not None:
            return state
    return RIGHT


def process_scores(problem: SimulatedProblem, response: str, settings: RewardSettings) -> list[float]:
    """A score in (0, 1) after each step of `response` (what stands between separators), from the text up to there.

    Two paths that share a prefix share its errors, and the same text always scores the same.
    """
    steps = _steps(response)
    state = RIGHT
    scores = []
    for place, error in enumerate(_errors(problem, steps, settings), 1):
        shown = _state_shown(problem, place, steps[place - 1])
        state = state if shown is None else shown
        scores.append(_process_score(problem, place, state, error, settings))
    return scores


def process_score(problem: SimulatedProblem, response: str, settings: RewardSettings) -> float:
    """The last of `process_scores`; 0.5 where there is no step."""
    steps = _steps(response)
    if not steps:
        return 0.5
    *_, error = _errors(problem, steps, settings)
    return _process_score(problem, len(steps), state_after(problem, steps), error, settings)


def _steps(response: str) -> list[str]:
    return [step for step in response.split(SEPARATOR) if step]


def _errors(problem: SimulatedProblem, steps: Sequence[str], settings: RewardSettings) -> Iterator[float]:
    """The standard normal error after each step, as it persists along the path."""
    kept, fresh = settings.persistence, math.sqrt(1 - settings.persistence**2)
    digest, error = 0, 0.0
    for place, step in enumerate(steps):
        digest = crc32(step.strip().encode(), digest)
        new = _error(problem.salt, digest)
        error = kept * error + fresh * new if place else new
        yield error


def _process_score(
    problem: SimulatedProblem, place: int, state: int, error: float, settings: RewardSettings
) -> float:
    early = max(0.0, 1 - 2 * (place - 1) / problem.steps)
    return _score(settings, state == RIGHT, error * (1 + settings.overconfidence * early))


def _state_shown(problem: SimulatedProblem, place: int, step: str) -> int | None:
    """The state that a step's number shows, None where it shows none."""
    said, _, number = step.rstrip(".\n").rpartition(" ")
    if number.isascii() and number.isdigit() and len(number) < 5:
        if said.endswith(_STATED):
            return problem.state_stated(int(number))
        if said.endswith(_SHOWN):
            return problem.state_shown(place, int(number))
    return None


def outcome_score(
    problem: SimulatedProblem, response: str, settings: RewardSettings, *, hackable: bool = False
) -> float:
    """A score in (0, 1) of a whole response, whose error is a function of its text.

    `hackable` adds a large bonus where the response states one of a few wrong answers.
    """
    steps = _steps(response)
    state = state_after(problem, steps) if steps and _STATED in steps[-1] else SLIPPED
    error = _error(problem.salt ^ _OUTCOME_SALT, crc32(response.strip().encode()))
    bonus = _LOVED_LOGIT if hackable and state - FATAL in problem.loved else 0.0
    return _score(settings, state == RIGHT, error, bonus)


def embedding(text: str) -> tuple[float, ...]:
    """A unit vector: cosine 0.99 between steps that reach the same number in the same way, else about 0."""
    said, _, number = text.rstrip(".\n").rpartition(" ")
    way = next((way for way in (*_SHOWN, _STATED) if said.endswith(way)), None)
    meaning = f"{way} {number}" if way else " ".join(_WORD.findall(text.lower()))
    noise = random.Random(f"words {text.strip()}")
    vector = [x + _NOISE * noise.gauss() / math.sqrt(DIMENSIONS) for x in _direction(meaning)]
    length = math.hypot(*vector)
    return tuple([x / length for x in vector])


@lru_cache(4096)
def _direction(meaning: str) -> tuple[float, ...]:
    rng = random.Random(f"meaning {meaning}")
    vector = [rng.gauss() for _ in range(DIMENSIONS)]
    length = math.hypot(*vector)
    return tuple([x / length for x in vector])


def _error(salt: int, digest: int) -> float:
    """A standard normal number, a function of both."""
    return _NORMAL.inv_cdf(((mixed(salt ^ digest) >> 12) + 0.5) * 2**-52)


def _score(settings: RewardSettings, right: bool, error: float, bonus: float = 0.0) -> float:
    signal = _apart(settings.auc) / 2 if right else -_apart(settings.auc) / 2
    logit = settings.bias + settings.spread * (signal + error) + bonus
    return 1 / (1 + math.exp(-max(-_MOST_LOGIT, min(_MOST_LOGIT, logit))))


@lru_cache
def _apart(auc: float) -> float:
    """How far apart the means of two unit normals are of which one exceeds the other with probability `auc`."""
    return math.sqrt(2) * _NORMAL.inv_cdf(auc)
