"""What `strategy: auto` spends and reaches after a probe, against fixed numbers of samples, on simulated worlds.

Each world is calibrated on some problems. Samples of fresh problems are drawn beforehand and handed out wave by wave,
as `budgets.allocation.allocate` asks for them, up to 32; fixed strategies take the first 32, or 8, of the same. Auto's
answer is the one with the highest posterior probability; what the strategy that it names would select among the same
samples is given too. Nothing was chosen by worlds 0 to 19; tuning used worlds 100 to 123.

    .venv/bin/python benchmarks/adaptive.py                               # minutes
    .venv/bin/python benchmarks/adaptive.py --worlds 3 --problems 50      # a look
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import cpu_count

import numpy as np
from numpy.typing import NDArray
from predictions import FRESH, VERIFIER, Size, calibrated
from selection_rules import solved
from simulated_tasks import Samples, draw, draw_world

from budgets.allocation import LEAST_GAIN, Allocation, allocate
from budgets.posterior import Evidence
from budgets.prediction import Options, Strategy
from budgets.uncertainty import FittedTask

MOST = 32
FIXED: dict[str, tuple[Strategy, Options, int]] = {
    "best_of_n 32": ("best_of_n", Options(), MOST),
    "majority 32": ("majority", Options(), MOST),
    "weighted 32": ("best_of_n", Options(select="weighted"), MOST),
    "best_of_n 8": ("best_of_n", Options(), 8),
    "majority 8": ("majority", Options(), 8),
}
AUTO, NAMED = "auto", "auto, by its strategy"

Found = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Replay:
    """A world's problems, (problems,) each: whether each way was right; tokens of 32 samples; what auto spent."""

    seed: int
    right: dict[str, NDArray[np.bool_]]
    all_tokens: Found
    tokens: Found
    samples: Found
    waves: Found
    promised: Found

    def share(self) -> float:
        """Of the tokens of 32 samples, what auto spent."""
        return float(self.tokens.sum() / self.all_tokens.sum())


def evidence(answers: Sequence[int], scores: Sequence[float]) -> tuple[Evidence, list[int]]:
    """What was drawn so far, -1 for no answer, and the answers in the evidence's order."""
    seen = list(dict.fromkeys(answer for answer in answers if answer >= 0))
    by_answer = [
        tuple(score for answer, score in zip(answers, scores, strict=True) if answer == one) for one in seen
    ]
    found = Evidence(tuple(map(len, by_answer)), tuple(by_answer), sum(answer < 0 for answer in answers))
    return found, seen


def play(
    fitted: FittedTask, samples: Samples, problem: int, least_gain: float
) -> tuple[Allocation, int, int, bool]:
    """The last allocation of one problem, the samples drawn, the waves, and whether auto's answer is right."""
    drawn, waves = 0, 0
    while True:
        known, seen = evidence(
            samples.answer[problem, :drawn].tolist(), samples.score[problem, :drawn].tolist()
        )
        found = allocate(fitted, known, most=MOST - drawn, verifier=True, least_gain=least_gain)
        if not found.more:
            return found, drawn, waves, bool(found.ranked) and seen[found.ranked[0]] == 0
        drawn, waves = drawn + found.more, waves + 1


def replay(seed: int, size: Size, least_gain: float) -> Replay:
    """One world: calibrated, then every fresh problem by auto and by each fixed strategy."""
    fitted = calibrated(seed, size, 0).fitted(VERIFIER)
    samples = draw(draw_world(seed), size.problems, MOST, start=FRESH)
    right = {name: solved(strategy, samples, n, options) for name, (strategy, options, n) in FIXED.items()}
    played = [play(fitted, samples, problem, least_gain) for problem in range(size.problems)]
    named = [
        solved(last.strategy, samples[problem : problem + 1], drawn, last.options)[0]
        for problem, (last, drawn, _, _) in enumerate(played)
    ]
    right |= {AUTO: np.array([one[3] for one in played]), NAMED: np.array(named)}
    tokens = [samples.tokens[problem, : one[1]].sum() for problem, one in enumerate(played)]
    return Replay(
        seed,
        right,
        samples.tokens.sum(axis=1).astype(float),
        np.array(tokens, dtype=float),
        np.array([one[1] for one in played], dtype=float),
        np.array([one[2] for one in played], dtype=float),
        np.array([one[0].accuracy_now for one in played]),
    )


def report(replays: Sequence[Replay]) -> Iterator[str]:
    """A table in per cent, a row for each world and the mean; then what it comes to."""
    ways = [AUTO, NAMED, *FIXED]
    yield (
        "| world | "
        + " | ".join(ways)
        + " | auto's tokens, % of 32 samples' | samples | waves | auto's own estimate |"
    )
    yield "| ---: " * (len(ways) + 5) + "|"
    for one in replays:
        cells = [f"{100 * one.right[way].mean():.1f}" for way in ways]
        cells += [f"{100 * one.share():.1f}", f"{one.samples.mean():.1f}", f"{one.waves.mean():.1f}"]
        yield f"| {one.seed} | {' | '.join(cells)} | {100 * one.promised.mean():.1f} |"
    means = [f"{100 * np.mean([one.right[way].mean() for one in replays]):.1f}" for way in ways]
    spent = sum(one.tokens.sum() for one in replays) / sum(one.all_tokens.sum() for one in replays)
    means += [f"{100 * spent:.1f}"]
    means += [
        f"{np.mean([getattr(one, name).mean() for one in replays]):.1f}" for name in ("samples", "waves")
    ]
    means += [f"{100 * np.mean([one.promised.mean() for one in replays]):.1f}"]
    yield f"| all | {' | '.join(means)} |"
    yield ""
    yield from findings(replays, spent)


def findings(replays: Sequence[Replay], spent: float) -> Iterator[str]:
    ahead = np.concatenate([one.right[AUTO].astype(float) - one.right["best_of_n 32"] for one in replays])
    points, error = 100 * ahead.mean(), 196 * ahead.std() / np.sqrt(len(ahead))
    above = sum(one.right[AUTO].mean() >= one.right["best_of_n 32"].mean() for one in replays)
    cheap = sum(one.share() <= 0.25 for one in replays)
    yield (
        f"Over all {len(ahead)} problems auto is {points:+.1f} points (± {error:.1f}, 95 %) off best_of_n (argmax) at "
        f"N = 32 with {100 * spent:.1f} % of its tokens. It is no less accurate in {above} of {len(replays)} worlds, "
        f"with a quarter of the tokens or less in {cheap}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worlds", type=_positive, default=20, help="how many (default 20)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0; tuning: 100)")
    parser.add_argument("--problems", type=_positive, default=500, help="fresh ones a world (default 500)")
    parser.add_argument("--calibration", type=_positive, default=200, help="calibrated on (default 200)")
    parser.add_argument(
        "--least-gain", type=float, default=LEAST_GAIN, help=f"of a sample (default {LEAST_GAIN})"
    )
    parser.add_argument("--processes", type=_positive, default=cpu_count() or 1, help="default: one a core")
    asked = parser.parse_args()
    size = Size(asked.problems, asked.calibration)
    seeds = range(asked.first, asked.first + asked.worlds)
    replays: list[Replay] = []
    with ProcessPoolExecutor(asked.processes) as pool:
        for one in pool.map(partial(replay, size=size, least_gain=asked.least_gain), seeds):
            replays.append(one)
            print(f"world {one.seed}: {draw_world(one.seed).label}", file=sys.stderr)
    print("\n".join(report(replays)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


if __name__ == "__main__":
    main()
