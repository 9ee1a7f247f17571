"""What benchmarks/predictions.py prints of predicted accuracies: their errors, their coverage, the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Cell:
    """One strategy at one N in one world, by one of its calibrations: accuracies from 0 to 1."""

    world: int
    calibration: int
    label: str
    n: int
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        return self.predicted - self.measured

    @property
    def covered(self) -> bool:
        return self.low <= self.measured <= self.high


def report(cells: Sequence[Cell]) -> str:
    """The tables and what they say of the goals."""
    return "\n\n".join(
        [
            "Mean absolute error of the predicted accuracy, in points",
            _by_strategy(cells, lambda some: f"{100 * fmean(abs(one.error) for one in some):.1f}"),
            "Mean error (what is common to all worlds), in points",
            _by_strategy(cells, lambda some: f"{100 * fmean(one.error for one in some):+.1f}"),
            "Share of the 90 % intervals that hold the measured accuracy, %",
            _by_strategy(cells, lambda some: f"{100 * fmean(one.covered for one in some):.0f}"),
            _summary(cells),
        ]
    )


def _by_strategy(cells: Sequence[Cell], shown: Callable[[Sequence[Cell]], str]) -> str:
    numbers = sorted({one.n for one in cells})
    lines = [
        f"| strategy | {' | '.join(f'N = {n}' for n in numbers)} | all |",
        "| --- |" + " ---: |" * (len(numbers) + 1),
    ]
    for label in dict.fromkeys(one.label for one in cells):
        mine = [one for one in cells if one.label == label]
        row = [shown([one for one in mine if one.n == n]) for n in numbers]
        lines.append(f"| {label} | {' | '.join(row)} | {shown(mine)} |")
    row = [shown([one for one in cells if one.n == n]) for n in numbers]
    lines.append(f"| all | {' | '.join(row)} | {shown(cells)} |")
    return "\n".join(lines)


def _summary(cells: Sequence[Cell]) -> str:
    worlds = sorted({one.world for one in cells})
    by_world = [[one for one in cells if one.world == world] for world in worlds]
    errors = [100 * fmean(abs(one.error) for one in some) for some in by_world]
    covered = [100 * fmean(one.covered for one in some) for some in by_world]
    widths = [100 * (one.high - one.low) for one in cells]
    error, coverage = fmean(errors), fmean(covered)
    return (
        f"{len(worlds)} worlds, {len({one.calibration for one in cells})} calibrations each.\n"
        f"- Mean absolute error {error:.2f} points (goal: at most 3): {_holds(error <= 3)}. By world "
        f"{min(errors):.1f} to {max(errors):.1f}.\n"
        f"- The 90 % intervals cover {coverage:.1f} % (goal: 85 to 95): {_holds(85 <= coverage <= 95)}. By world "
        f"{min(covered):.0f} to {max(covered):.0f} %: all calibrations of a world are held against the same problems.\n"
        f"- They are {fmean(widths):.1f} points wide on average."
    )


def _holds(true: bool) -> str:
    return "holds" if true else "does not hold"
