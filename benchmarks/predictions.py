"""Predicted against measured accuracy, on simulated worlds that nothing was tuned on.

Each world is calibrated on some problems; what each sampling strategy reaches at N = 1 … 64 is then predicted, with
90 % intervals, and measured on fresh problems by the strategies' own selection rules. Then a plan is recommended for
some token budgets, and held against the plan that was best in hindsight. Worlds 0 to 19 were left alone until all was
done; tuning used worlds from 1000 on. Everything is a function of the settings.

    .venv/bin/python benchmarks/predictions.py                                  # minutes
    .venv/bin/python benchmarks/predictions.py --worlds 4 --problems 300        # a look
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from os import cpu_count
from pathlib import Path

from hindsight import Regret, measured_plans, regrets
from hindsight import report as hindsight_report
from predictions_report import Cell, report
from selection_rules import solved
from simulated_tasks import Samples, draw, draw_world

from budgets.prediction import Options, Strategy
from budgets.profiles import Measurement, Profile
from budgets.uncertainty import accuracies

NUMBERS = (1, 2, 4, 8, 16, 32, 64)
CALIBRATION_SAMPLES = 16
FRESH = 1_000_000
"""The first of the fresh problems: none of those calibrated on."""
VERIFIER = "orm"
STRATEGIES: Mapping[str, tuple[Strategy, Options]] = {
    "repeated_sampling": ("repeated_sampling", Options()),
    "majority": ("majority", Options()),
    "best_of_n": ("best_of_n", Options()),
    "best_of_n weighted": ("best_of_n", Options(select="weighted")),
    "best_of_majority": ("best_of_majority", Options()),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is drawn of each world: `calibrations` apart from each other, all held against the same problems."""

    problems: int = 2000
    calibration: int = 200
    calibrations: int = 5
    keep: Path | None = None


def measurements(samples: Samples) -> list[list[Measurement]]:
    """The samples, graded and scored, as a calibration has them."""
    rows = zip(samples.right, samples.tokens, samples.answer, samples.score, strict=True)
    return [
        [
            Measurement(
                bool(right),
                int(tokens),
                bool(answer >= 0),
                str(answer) if answer >= 0 else None,
                float(score),
            )
            for right, tokens, answer, score in zip(*row, strict=True)
        ]
        for row in rows
    ]


def calibrated(seed: int, size: Size, place: int) -> Profile:
    """The profile of world `seed` from its calibration number `place`."""
    drawn = draw(
        draw_world(seed),
        size.calibration,
        CALIBRATION_SAMPLES,
        start=place * size.calibration,
        folder=size.keep,
    )
    return Profile.measured(measurements(drawn), verifier=VERIFIER)


def fresh(seed: int, size: Size) -> Samples:
    """Problems of world `seed` that no calibration has seen."""
    return draw(draw_world(seed), size.problems, NUMBERS[-1], start=FRESH, folder=size.keep)


def measure(seed: int, size: Size) -> tuple[list[Cell], list[Regret]]:
    """Every strategy at every N in one world, and every recommended plan."""
    problems = fresh(seed, size)
    real = {
        label: [float(solved(strategy, problems, n, options).mean()) for n in NUMBERS]
        for label, (strategy, options) in STRATEGIES.items()
    }
    plans = measured_plans(problems)
    cells: list[Cell] = []
    behind: list[Regret] = []
    for place in range(size.calibrations):
        profile = calibrated(seed, size, place)
        behind += regrets(seed, place, profile, VERIFIER, problems, plans)
        fitted = profile.fitted(VERIFIER)
        for label, (strategy, options) in STRATEGIES.items():
            found = accuracies(strategy, fitted, NUMBERS, options, problems=size.problems)
            rows = zip(NUMBERS, real[label], found.value, found.low, found.high, strict=True)
            cells += [Cell(seed, place, label, n, *map(float, row)) for n, *row in rows]
    return cells, behind


def auto(pool: Executor, seeds: Sequence[int], size: Size) -> Iterator[str]:
    """What auto spends and reaches in each world, in the words of adaptive.py."""
    from adaptive import LEAST_GAIN, replay  # which calibrates as is done here
    from adaptive import report as adaptive_report

    return adaptive_report(list(pool.map(partial(replay, size=size, least_gain=LEAST_GAIN), seeds)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worlds", type=_positive, default=20, help="how many (default 20)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0; tuning: 1000)")
    parser.add_argument("--problems", type=_positive, default=2000, help="fresh ones a world (default 2000)")
    parser.add_argument("--calibration", type=_positive, default=200, help="calibrated on (default 200)")
    parser.add_argument("--calibrations", type=_positive, default=5, help="of each world (default 5)")
    parser.add_argument(
        "--auto", type=int, default=500, help="fresh ones a world for auto (default 500; 0: none)"
    )
    parser.add_argument("--processes", type=_positive, default=cpu_count() or 1, help="default: one a core")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--keep", type=Path, help="folder that keeps samples drawn, to go on from")
    asked = parser.parse_args()
    size = Size(asked.problems, asked.calibration, asked.calibrations, asked.keep)
    seeds = range(asked.first, asked.first + asked.worlds)
    cells: list[Cell] = []
    behind: list[Regret] = []
    with ProcessPoolExecutor(asked.processes) as pool:
        for seed, (some, others) in zip(seeds, pool.map(partial(measure, size=size), seeds), strict=True):
            cells += some
            behind += others
            print(f"world {seed}: {draw_world(seed).label}", file=sys.stderr)
        print(report(cells), hindsight_report(behind), sep="\n\n", flush=True)
        if asked.auto > 0:
            print(
                "\nauto against fixed numbers of samples\n",
                *auto(pool, seeds, Size(asked.auto, asked.calibration)),
                sep="\n",
            )
    if asked.json:
        kept = {"cells": [asdict(one) for one in cells], "plans": [asdict(one) for one in behind]}
        asked.json.write_text(json.dumps(kept, indent=1) + "\n")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


if __name__ == "__main__":
    main()
