"""Every plan that is compared, with its expected accuracy, worth and cost, and which of them a budget allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budgets.difficulty import Array
from budgets.plan_lines import Line
from budgets.plans import Wanted

COSTS = ("tokens", "eflops", "seconds", "usd")
HAIR = 0.002
"""Accuracies that differ by no more are taken for equal: no profile knows them better."""
_SLACK = 1 + 1e-9
_EVEN = 4
"""Digits after the point to which equally good plans agree, however they are predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One plan. `worth` is its accuracy, less what its wrong answers cost where they do."""

    line: Line
    samples: int
    accuracy: float
    worth: float
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All of them, in arrays of equal length; `place` says which of `lines` each is on."""

    lines: Sequence[Line]
    place: NDArray[np.int_]
    samples: NDArray[np.int_]
    accuracy: Array
    worth: Array
    costs: Mapping[str, Array]
    fits: NDArray[np.bool_]

    def __getitem__(self, at: int) -> Candidate:
        costs = {unit: float(cost[at]) for unit, cost in self.costs.items()}
        line = self.lines[self.place[at]]
        return Candidate(line, int(self.samples[at]), float(self.accuracy[at]), float(self.worth[at]), costs)

    @property
    def axis(self) -> str:
        """The unit in which plans are compared: usd where all are priced, else eflops, else tokens."""
        for unit in ("usd", "eflops"):
            cost = self.costs[unit]
            if not np.isnan(cost).any() and cost.any():
                return unit
        return "tokens"

    @property
    def cost(self) -> Array:
        return self.costs[self.axis]

    def cheapest(self, among: NDArray[np.bool_]) -> Candidate | None:
        """Of equally cheap ones the worthiest, of equally worthy ones one without a verifier; None of none."""
        at = np.flatnonzero(among)
        if not len(at):
            return None
        return self[at[self.ranked(at, self.worth)[0]]]

    def ranked(self, at: NDArray[np.int_], by: Array) -> NDArray[np.int_]:
        """The order of those by rising cost, then by what is falling, then without a verifier first."""
        verified = np.array([line.verifier is not None for line in self.lines])[self.place[at]]
        return np.lexsort((verified, -np.round(by[at], _EVEN), self.cost[at]))

    def best(self, among: NDArray[np.bool_]) -> Candidate | None:
        """The cheapest of those within a hair of the worthiest; None of none."""
        if not among.any():
            return None
        return self.cheapest(among & (self.worth >= self.worth[among].max() - HAIR))

    def of(self, lines: Iterable[bool]) -> NDArray[np.bool_]:
        """Which are on one of the lines that are True."""
        return np.asarray(list(lines), dtype=bool)[self.place]


def candidates(lines: Sequence[Line], wanted: Wanted) -> Candidates:
    """Of every line the plans that fit the budget, the next larger one, and where it could be best what just fits."""
    parts = [
        _on(line, place, [n for n in line.samples(wanted.samples_allowed) if n >= wanted.k], wanted)
        for place, line in enumerate(lines)
    ]
    best = max((float(part.worth[part.fits].max()) for part in parts if part.fits.any()), default=0.0)
    found = (_just_fitting(part, place, wanted, best) for place, part in enumerate(parts))
    parts += [part for part in [*found] if part is not None]
    return Candidates(
        lines,
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.samples for part in parts]),
        np.concatenate([part.accuracy for part in parts]),
        np.concatenate([part.worth for part in parts]),
        {unit: np.concatenate([part.costs[unit] for part in parts]) for unit in COSTS},
        np.concatenate([part.fits for part in parts]),
    )


def _on(line: Line, place: int, samples: Sequence[int], wanted: Wanted) -> Candidates:
    """Those of one line."""
    n = np.array(samples, dtype=int)
    if not len(n):
        nothing = np.zeros(0)
        return Candidates([line], n, n, nothing, nothing, dict.fromkeys(COSTS, nothing), n.astype(bool))
    costs = line.costs(samples)
    fits = _fit(costs, len(n), wanted)
    end = int(np.flatnonzero(fits)[-1]) + 2 if fits.any() else 1
    n, fits, costs = n[:end], fits[:end], {unit: cost[:end] for unit, cost in costs.items()}
    accuracy = worth = line.accuracies(samples[:end])
    if wanted.wrong_answer_cost is not None:
        right, wrong = line.answers(samples[:end])
        worth = right - wanted.wrong_answer_cost * wrong
    return Candidates([line], np.full(len(n), place), n, accuracy, worth, costs, fits)


def _fit(costs: Mapping[str, Array], count: int, wanted: Wanted) -> NDArray[np.bool_]:
    fits = np.ones(count, dtype=bool)
    for unit, cap in wanted.caps.given().items():
        if unit != "samples":
            fits &= costs[unit] <= cap * _SLACK
    return fits


def _just_fitting(part: Candidates, place: int, wanted: Wanted, best: float) -> Candidates | None:
    """The plan that just fits the budget, between two that were looked at, where it could be the best of all."""
    line, fitting = part.lines[0], np.flatnonzero(part.fits)
    if not len(fitting) or line.strategy == "best_of_majority" or not wanted.caps.given():
        return None
    last = int(fitting[-1])
    beyond = (
        part.worth[last + 1] if last + 1 < len(part.worth) else 2 * part.worth[last] - part.worth[last - 1]
    )
    if max(part.worth[last], beyond) <= best:
        return None
    end = part.samples[last + 1] if last + 1 < len(part.samples) else line.most(wanted.samples_allowed) + 1
    between = list(range(int(part.samples[last]) + 1, int(end)))
    if not between:
        return None
    fitting = np.flatnonzero(_fit(line.costs(between), len(between), wanted))
    return _on(line, place, [between[fitting[-1]]], wanted) if len(fitting) else None
