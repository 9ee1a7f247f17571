"""What each strategy buys on simulated problems: accuracy, tokens, KV cache and calls, at N = 4, 16 and 64.

The settings below were written down before the first run, and no strategy's parameters were chosen by what came out.
A run is a pure function of them: the same table comes out on any machine.

    .venv/bin/python benchmarks/quality.py                # everything: about half an hour on two cores
    .venv/bin/python benchmarks/quality.py --problems 100 # a look
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from quality_report import Cell, draw, findings, table

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.simulated.engine import SimulatedEngine
from engines.simulated.problems import RewardSettings, SimulatedSettings
from engines.simulated.world import SimulatedWorld
from strategies.base import Problem
from strategies.journal import Draw, Scored
from strategies.registry import build
from strategies.search import Search
from verifiers.answers import make_answers
from verifiers.base import Verifier
from verifiers.exact import Exact
from verifiers.simulated_reward import SimulatedEmbedder, SimulatedOutcomeReward, SimulatedProcessReward
from verifiers.workers import Workers

PROBLEMS = 2000
WIDTHS = (4, 16, 64)
SEED = 20250302
"""The world's; also the seed of each problem's run, plus the problem's index."""

SETTINGS = SimulatedSettings(
    accuracy=0.35,
    concentration=2.0,
    process=RewardSettings(auc=0.83, persistence=0.8),
    outcome=RewardSettings(auc=0.83),
)
WORLDS: Mapping[str, SimulatedSettings] = {
    "plain": SETTINGS,
    "overconfident": replace(SETTINGS, process=replace(SETTINGS.process, overconfidence=2.0)),
}
"""`overconfident`: the same, but the process reward's errors at a response's first step are three times as large."""


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy with its parameters (the defaults where it says nothing), guided by `verifier`, in a world.

    `embeds`: steps are told apart by embeddings, where a strategy asks; else by their texts.
    """

    label: str
    strategy: str
    verifier: str
    params: Mapping[str, Any] = field(default_factory=dict)
    world: str = "plain"
    embeds: bool = True


PF, ETS = "particle_filtering", "efficient_tree_search"

ROWS: Sequence[Row] = (
    Row("majority", "majority", "none"),
    Row("repeated_sampling, certain check", "repeated_sampling", "exact"),
    Row("best_of_n, outcome reward", "best_of_n", "outcome"),
    Row("best_of_n weighted, outcome reward", "best_of_n", "outcome", {"select": "weighted"}),
    Row("best_of_majority, outcome reward", "best_of_majority", "outcome"),
    Row("best_of_n, hackable reward", "best_of_n", "hackable"),
    Row("best_of_majority, hackable reward", "best_of_majority", "hackable"),
    Row("best_of_n, process reward", "best_of_n", "process"),
    Row("best_of_n weighted, process reward", "best_of_n", "process", {"select": "weighted"}),
    Row("particle_filtering", PF, "process"),
    Row("particle_filtering weighted", PF, "process", {"select": "weighted"}),
    Row("particle_filtering systematic", PF, "process", {"resample": "systematic"}),
    Row("particle_filtering entropic", PF, "process", {"anneal": "entropic"}),
    Row("particle Gibbs, 2 iterations", PF, "process", {"iterations": 2}),
    Row("beam_search argmax", "beam_search", "process", {"select": "argmax"}),
    Row("beam_search", "beam_search", "process"),
    Row("diverse_verifier_tree_search", "diverse_verifier_tree_search", "process"),
    Row("rebase", "rebase", "process"),
    Row("efficient_tree_search", ETS, "process"),
    Row("efficient_tree_search, nodes counted", ETS, "process", {"node_cost": "count"}),
    Row("efficient_tree_search, λb = 2", ETS, "process", {"cost_weight": 2.0}),
    Row("efficient_tree_search, no embeddings", ETS, "process", embeds=False),
    Row(
        "efficient_tree_search, no embeddings, λd = 1",
        ETS,
        "process",
        {"diversity_weight": 1.0},
        embeds=False,
    ),
    *(
        Row(f"{label}, overconfident reward", PF, "process", params, "overconfident")
        for label, params in {
            "particle_filtering": {},
            "particle_filtering entropic": {"anneal": "entropic"},
            "particle Gibbs, 2 iterations": {"iterations": 2},
        }.items()
    ),
    Row("beam_search, overconfident reward", "beam_search", "process", {}, "overconfident"),
    Row("rebase, overconfident reward", "rebase", "process", {}, "overconfident"),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run on one problem. `grown` and `kept`: KV tokens, mean over depths; None where there were none."""

    right: bool
    tokens: int
    engine_calls: int
    verifier_calls: int
    grown: float | None
    kept: float | None


async def run(world: SimulatedWorld, row: Row, width: int, index: int) -> Ran:
    """Problem `index` by the strategy of `row` with `width` samples."""
    problem = world.problem(index)
    answers = make_answers("number", workers=Workers())
    verifiers: dict[str, Verifier | None] = {
        "none": None,
        "exact": Exact(answers, str(problem.answer)),
        "outcome": SimulatedOutcomeReward(world),
        "hackable": SimulatedOutcomeReward(world, hackable=True),
        "process": SimulatedProcessReward(world),
    }
    engine = SimulatedEngine(world)
    messages = ({"role": "user", "content": world.question(index)},)
    asked = Problem(messages, await engine.tokenize(messages), max_tokens=4096)
    search = Search(
        engine,
        asked,
        Ledger(Budget(width)),
        answers,
        verifier=verifiers[row.verifier],
        embedder=SimulatedEmbedder(world) if row.embeds else None,
        seed=SEED + index,
    )
    outcome = await build(row.strategy, row.params).run(search)
    kv = outcome.estimates.get("kv_tokens", {})
    kept = [tokens for tokens in kv.get("kept", ()) if tokens]
    return Ran(
        right=outcome.candidates[0].answer == str(problem.answer),
        tokens=sum(event["tokens"] for event in search.trace if event["event"] == "sample"),
        engine_calls=sum(isinstance(record, Draw) for record in search.journal.records),
        verifier_calls=sum(isinstance(record, Scored) for record in search.journal.records),
        grown=fmean(kv["grown"]) if kv else None,
        kept=fmean(kept) if kept else None,
    )


def work(row: Row, width: int, indices: range) -> list[Ran]:
    """The runs of some problems, in a process of its own."""
    world = SimulatedWorld(WORLDS[row.world], SEED)

    async def all_of_them() -> list[Ran]:
        return [await run(world, row, width, index) for index in indices]

    return asyncio.run(all_of_them())


def cell(row: Row, width: int, runs: Sequence[Ran], seconds: float) -> Cell:
    accuracy = fmean(one.right for one in runs)
    return Cell(
        row.label,
        width,
        accuracy,
        1.96 * math.sqrt(accuracy * (1 - accuracy) / len(runs)),
        fmean(one.tokens for one in runs),
        fmean(one.engine_calls for one in runs),
        fmean(one.verifier_calls for one in runs),
        *(_mean(getattr(one, name) for one in runs) for name in ("grown", "kept")),
        seconds,
        "".join(str(int(one.right)) for one in runs),
    )


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def measure(rows: Sequence[Row], widths: Sequence[int], problems: int, processes: int) -> Iterator[Cell]:
    size = max(1, min(50, problems // processes))
    chunks = [range(start, min(start + size, problems)) for start in range(0, problems, size)]
    with ProcessPoolExecutor(processes) as pool:
        for row in rows:
            for width in widths:
                began = time.monotonic()
                done = pool.map(work, [row] * len(chunks), [width] * len(chunks), chunks)
                yield cell(row, width, [one for runs in done for one in runs], time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=PROBLEMS, help="problems a cell (default 2000)")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, metavar="N", help="default 4 16 64")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="rows whose label holds one of these")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="write the picture here, as SVG")
    asked = parser.parse_args()
    rows = [row for row in ROWS if not asked.only or any(text in row.label for text in asked.only)]
    cells = []
    for one in measure(rows, asked.widths, asked.problems, asked.processes):
        cells.append(one)
        done = f"{len(cells)} of {len(rows) * len(asked.widths)}"
        print(
            f"{done}: {one.label}, N = {one.width}: {100 * one.accuracy:.1f} % ({one.seconds:.0f} s)",
            file=sys.stderr,
        )
    print(table(cells), findings(cells), sep="\n\n")
    if asked.json:
        kept = {"problems": asked.problems, "seed": SEED, "settings": asdict(SETTINGS)}
        asked.json.write_text(json.dumps({**kept, "cells": [asdict(one) for one in cells]}, indent=1) + "\n")
    if asked.plot:
        draw(cells, asked.plot)


if __name__ == "__main__":
    main()
