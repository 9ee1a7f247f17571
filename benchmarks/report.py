"""What the benchmark prints and keeps: the machine, medians of the rounds, and ratios to the baseline."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from contenders import BASELINE
from processes import Cores

HARNESS_BUSY = 0.8
OTHERS_BUSY = 0.1

Results = Mapping[str, Mapping["Cell", Sequence["Figures"]]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting: requests in flight, and seconds that the engine takes."""

    width: int
    delay: float

    def __str__(self) -> str:
        return f"width {self.width}, {f'{self.delay:g} s engine delay' if self.delay else 'no engine delay'}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one service did in one cell: CPU and memory are those of its process and its children.

    `harness_share` is the share of its cores that client and stand-in engine used (near 1, they are what was
    measured), `others_share` the share of all cores that processes of others used or the host took.
    """

    requests: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    generating_calls: float
    tokenize_calls: float
    peak_mib: float
    grown_mib: float
    harness_share: float
    others_share: float

    def __str__(self) -> str:
        return (
            f"{self.requests_per_second:.0f} requests/s, p50 {self.p50_ms:.2f} ms, {self.cpu_ms:.2f} ms CPU"
        )


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure on its own."""
    return Figures(
        **{f.name: median(getattr(figures, f.name) for figures in rounds) for f in fields(Figures)}
    )


def machine(cores: Cores) -> dict[str, Any]:
    """What the figures depend on."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("uvicorn", "uvloop", "aiohttp", "httpx", "fastapi")},
        "load_before": os.getloadavg()[0],
        "pinned": cores.service is not None,
    }


def text(
    machine: Mapping[str, Any],
    limits: Mapping[int, float],
    figures: Results,
    failures: Mapping[str, str],
) -> str:
    """Everything as Markdown, one table for each cell."""
    about = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    pinned = (
        "the service has one core to itself, engine and client share the rest"
        if machine["pinned"]
        else "no process is pinned to a core"
    )
    straight = ", ".join(f"{rate:,.0f} at width {width}" for width, rate in limits.items())
    about_machine = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {about}; load average "
        f"{machine['load_before']:.2f} before; {pinned}."
    )
    parts = [about_machine, f"The client straight at the stand-in engine, requests/s: {straight}."]
    cells = dict.fromkeys(cell for by_cell in figures.values() for cell in by_cell)
    parts += [f"**{str(cell).capitalize()}**\n\n{_table(cell, figures)}" for cell in cells]
    parts += _doubts(figures)
    parts += [f"{name} failed: {message}" for name, message in failures.items()]
    return "\n\n".join(parts)


def _doubts(figures: Results) -> list[str]:
    """Sentences about what may have spoilt the figures."""
    of_all = [
        (name, cell, medians(rounds)) for name, by_cell in figures.items() for cell, rounds in by_cell.items()
    ]
    limited = [f"{name} at {cell}" for name, cell, one in of_all if one.harness_share > HARNESS_BUSY]
    others = max((one.others_share for _, _, one in of_all), default=0.0)
    doubts = []
    if limited:
        doubts.append(f"Client and engine were busy too, so these could be quicker: {', '.join(limited)}.")
    if others > OTHERS_BUSY:
        doubts.append(
            f"Other processes took up to {others:.0%} of the cores: repeat this on a quiet machine."
        )
    return doubts


HEADINGS = (
    *("service", "requests/s", "× its_hub", "p50 ms", "p99 ms", "CPU ms a request", "÷ its_hub"),
    *("engine calls a request", "peak MiB", "grown MiB"),
)


def _table(cell: Cell, figures: Results) -> str:
    middle = {name: medians(by_cell[cell]) for name, by_cell in figures.items() if cell in by_cell}
    rows = [HEADINGS, *(_row(name, one, middle.get(BASELINE)) for name, one in middle.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |"
        for row in rows
    ]
    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _row(name: str, one: Figures, baseline: Figures | None) -> tuple[str, ...]:
    faster = f"{one.requests_per_second / baseline.requests_per_second:.1f}" if baseline else "–"
    cheaper = f"{baseline.cpu_ms / one.cpu_ms:.1f}" if baseline and one.cpu_ms else "–"
    calls = f"{one.generating_calls:.3g}" + (
        f" + {one.tokenize_calls:.3g} tokenize" if one.tokenize_calls else ""
    )
    return (
        *(name, f"{one.requests_per_second:,.1f}", faster, f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}"),
        *(f"{one.cpu_ms:.2f}", cheaper, calls, f"{one.peak_mib:.0f}", f"{one.grown_mib:+.1f}"),
    )


def as_json(
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    limits: Mapping[int, float],
    figures: Results,
    failures: Mapping[str, str],
) -> str:
    """All of it: each round and the medians."""
    cells = [
        {
            "service": name,
            **asdict(cell),
            "median": asdict(medians(rounds)),
            "rounds": [asdict(one) for one in rounds],
        }
        for name, by_cell in figures.items()
        for cell, rounds in by_cell.items()
    ]
    kept = {
        "machine": machine,
        "settings": settings,
        "stand_in_requests_per_second": limits,
        "cells": cells,
        "failures": failures,
    }
    return json.dumps(kept, indent=2, default=str) + "\n"
