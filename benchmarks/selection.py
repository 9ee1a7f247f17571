"""How long ETS takes to choose the leaves that go on: Aliquot against PuLP with CBC, as the paper's authors do it.

`python -m benchmarks.selection` grows trees as a search with REBASE's counts grows them, gives each to both, in turns,
and prints the median times. Both start from the tree and end with the chosen leaves. Every pair of answers is compared:
what the chosen leaves are worth must agree to 1e-6, or the row says so and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import log2
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from strategies.selection import Selectable, rebase_counts, select

AGREEMENT = 1e-6
TEMPERATURE = 0.2
SECONDS = 600.0  # nobody is cut short

Solver = Callable[[Selectable], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting: how many leaves, and what nodes cost (λb)."""

    leaves: int
    cost_weight: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of every problem in a cell, and the most that two answers to one problem were apart in worth."""

    ours: Sequence[float]
    theirs: Sequence[float]
    apart: float


def grown(rng: Random, cell: Cell, cost: str) -> Selectable:
    """The tree of a search as wide as there are leaves, the deeper the wider: 4 steps for 16, 6 for 64, 8 for 256.

    Scores are as a process reward's, mostly good; steps have about 40 tokens, the prompt 100; of what the leaves say,
    three say the same in the mean.
    """
    width = cell.leaves
    parents: list[int | None] = [None]
    tokens = [rng.randint(60, 140)]
    frontier, counts, scores = [0], [width], [0.0]
    for _ in range(round(log2(width))):
        parents += [node for node, count in zip(frontier, counts, strict=True) for _ in range(count)]
        frontier = list(range(len(parents) - width, len(parents)))
        tokens += [max(4, round(rng.lognormvariate(3.6, 0.5))) for _ in frontier]
        scores = [rng.uniform(0.45, 1.0) for _ in frontier]
        counts = rebase_counts(scores, width, TEMPERATURE)
    return Selectable(
        parents=parents,
        costs=tokens if cost == "tokens" else [1.0] * len(parents),
        leaves=frontier,
        weights=[count / width for count in counts],
        clusters=[rng.randrange(max(2, width // 3)) for _ in frontier],
        cost_weight=cell.cost_weight,
        diversity_weight=1.0,
    )


def ours(problem: Selectable) -> Sequence[int]:
    selection = select(problem, SECONDS)
    if not selection.proven:
        raise RuntimeError(f"Aliquot did not prove its selection of {len(problem.leaves)} leaves optimal.")
    return selection.leaves


def theirs(problem: Selectable) -> Sequence[int]:
    """The integer program of arXiv 2502.13575 as its authors state it: a binary for each leaf, inner node and cluster.

    An inner node is kept if and only if a leaf below it is: one row for each of these leaves, and one for their sum.
    """
    import pulp

    below: dict[int, list[int]] = {}
    for place, leaf in enumerate(problem.leaves):
        node = problem.parents[leaf]
        while node is not None:
            below.setdefault(node, []).append(place)
            node = problem.parents[node]
    members: dict[int, list[int]] = {}
    for place, cluster in enumerate(problem.clusters):
        members.setdefault(cluster, []).append(place)
    unit = problem.cost_weight / problem.cost(problem.leaves)
    prize = problem.diversity_weight / len(members)
    kept = [pulp.LpVariable(f"x_{place}", cat="Binary") for place in range(len(problem.leaves))]
    inner = {node: pulp.LpVariable(f"y_{node}", cat="Binary") for node in below}
    covered = {cluster: pulp.LpVariable(f"z_{cluster}", cat="Binary") for cluster in members}
    program = pulp.LpProblem("selection", pulp.LpMaximize)
    program += (
        pulp.lpSum(weight * x for weight, x in zip(problem.weights, kept, strict=True))
        - pulp.lpSum(unit * problem.costs[node] * y for node, y in inner.items())
        - pulp.lpSum(unit * problem.costs[node] * x for node, x in zip(problem.leaves, kept, strict=True))
        + pulp.lpSum(prize * z for z in covered.values())
    )
    for cluster, places in members.items():
        program += pulp.lpSum(kept[place] for place in places) >= covered[cluster]
    for node, places in below.items():
        program += inner[node] <= pulp.lpSum(kept[place] for place in places)
        for place in places:
            program += inner[node] >= kept[place]
    program += pulp.lpSum(kept) >= 1
    program.solve(pulp.PULP_CBC_CMD(msg=False))
    if program.status != pulp.LpStatusOptimal:
        raise RuntimeError(f"CBC ended as {pulp.LpStatus[program.status]!r}, not with an optimal selection.")
    return [node for node, x in zip(problem.leaves, kept, strict=True) if x.value() > 0.5]


def timed(solver: Solver, problem: Selectable) -> tuple[float, float]:
    """Seconds that `solver` takes, and what the leaves it chooses are worth."""
    start = perf_counter()
    chosen = solver(problem)
    return perf_counter() - start, problem.objective(chosen)


def measured(problems: Sequence[Selectable]) -> Figures:
    """Both solvers on every problem, first the one and then the other, in turns."""
    seconds: dict[Solver, list[float]] = {ours: [], theirs: []}
    apart = 0.0
    for turn, problem in enumerate(problems):
        worth = {}
        for solver in (ours, theirs) if turn % 2 else (theirs, ours):
            took, worth[solver] = timed(solver, problem)
            seconds[solver].append(took)
        apart = max(apart, abs(worth[ours] - worth[theirs]))
    return Figures(seconds[ours], seconds[theirs], apart)


def machine() -> str:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    tools = ", ".join(f"{name} {version(name)}" for name in ("highspy", "pulp"))
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{tools}; load average {os.getloadavg()[0]:.2f} before."
    )


HEADINGS = (
    "leaves",
    "λb",
    "PuLP + CBC ms",
    "Aliquot ms",
    "times as fast",
    "slowest ms",
    "largest difference",
)


def row(cell: Cell, figures: Figures) -> tuple[str, ...]:
    before, after = median(figures.theirs) * 1e3, median(figures.ours) * 1e3
    agrees = f"{figures.apart:.0e}" if figures.apart <= AGREEMENT else f"{figures.apart:.0e}: they disagree"
    return (
        *(
            str(cell.leaves),
            f"{cell.cost_weight:g}",
            f"{before:.1f}",
            f"{after:.2f}",
            f"{before / after:.0f}",
        ),
        *(f"{max(figures.theirs) * 1e3:.0f} and {max(figures.ours) * 1e3:.1f}", agrees),
    )


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """`rows` as Markdown, under the headings."""
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for index, cells in enumerate((HEADINGS, *rows)):
        yield "| " + " | ".join(map(str.rjust, cells, widths)) + " |"
        if not index:
            yield "| " + " | ".join("-" * (width - 1) + ":" for width in widths) + " |"


def positive(text: str) -> int:
    if not 1 <= (number := int(text)) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 10000")
    return number


def weight(text: str) -> float:
    if not 0 <= (number := float(text)) <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1000000")
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.selection",
        description="Measure how long ETS takes to choose leaves: Aliquot against PuLP with CBC, on the same trees.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--leaves", type=positive, nargs="+", default=[16, 64, 256], help="widths of searches"
    )
    parser.add_argument("--cost-weights", type=weight, nargs="+", default=[1.0, 4.0], help="values of λb")
    parser.add_argument(
        "--cost", choices=["tokens", "nodes"], default="tokens", help="what a node costs: its tokens, or 1"
    )
    parser.add_argument("--trees", type=positive, default=30, help="trees of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the trees")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure and print; the exit status is 1 where two answers to a problem were not worth the same."""
    arguments = parse()
    try:
        print(machine(), f"λd = 1, cost in {arguments.cost}, {arguments.trees} trees a row.\n", flush=True)
    except ModuleNotFoundError as error:
        print(f"{error.name} is missing: pip install 'aliquot[dev]' installs it.", file=sys.stderr)
        return 1
    cells = [
        Cell(leaves, cost_weight) for cost_weight in arguments.cost_weights for leaves in arguments.leaves
    ]
    results = {}
    for cell in cells:
        rng = Random(f"{arguments.seed} {cell.leaves}")
        problems = [grown(rng, cell, arguments.cost) for _ in range(arguments.trees)]
        measured(problems[:1])  # imports and first starts
        results[cell] = measured(problems)
    print("\n".join(table([row(cell, figures) for cell, figures in results.items()])))
    return int(any(figures.apart > AGREEMENT for figures in results.values()))


if __name__ == "__main__":
    sys.exit(main())
