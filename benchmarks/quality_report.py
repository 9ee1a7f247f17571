"""What benchmarks/quality.py prints and draws: its table, what was expected beside what came out, a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

EXPECTED = """Written down before the first run:
1. particle_filtering is at least as accurate as beam_search at equal tokens.
2. efficient_tree_search is within 0.5 points of rebase, with at most 1/1.8 of its KV tokens kept.
3. With the hackable reward best_of_n falls as N grows, and best_of_majority does not.
4. Entropic annealing and particle Gibbs help where the reward is overconfident early on."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A strategy at one N: means over problems; `error` is half of the 95 % interval of the accuracy."""

    label: str
    width: int
    accuracy: float
    error: float
    tokens: float
    engine_calls: float
    verifier_calls: float
    grown: float | None
    kept: float | None
    seconds: float
    right: str
    """One character a problem, 1 where it was solved, so that two cells can be compared problem by problem."""


def difference(first: Cell, second: Cell) -> tuple[float, float]:
    """How many points more accurate `first` is than `second` on the same problems, and half of the 95 % interval."""
    gaps = [int(a) - int(b) for a, b in zip(first.right, second.right, strict=True)]
    mean = fmean(gaps)
    spread = math.sqrt(fmean((gap - mean) ** 2 for gap in gaps) / len(gaps))
    return 100 * mean, 196 * spread


def table(cells: Sequence[Cell]) -> str:
    """Markdown, one line for each strategy and N."""
    lines = [
        "| strategy | N | accuracy % | tokens | KV grown | KV kept | engine calls | verifier calls |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in cells:
        kv = [f"{value:,.0f}" if value is not None else "–" for value in (one.grown, one.kept)]
        lines.append(
            f"| {one.label} | {one.width} | {100 * one.accuracy:.1f} ± {100 * one.error:.1f} | {one.tokens:,.0f} | "
            f"{kv[0]} | {kv[1]} | {one.engine_calls:.1f} | {one.verifier_calls:.1f} |"
        )
    return "\n".join(lines)


def findings(cells: Sequence[Cell]) -> str:
    """What was expected, beside what came out."""
    by = {(one.label, one.width): one for one in cells}
    widths = sorted({one.width for one in cells})
    lines = [EXPECTED, ""]

    def compare(first: str, second: str) -> None:
        for width in widths:
            if (first, width) in by and (second, width) in by:
                one, two = by[first, width], by[second, width]
                points, error = difference(one, two)
                kept = f", {two.kept / one.kept:.2f} times less KV kept" if one.kept and two.kept else ""
                lines.append(
                    f"- N = {width}: {first} − {second}: {points:+.1f} ± {error:.1f} points at "
                    f"{one.tokens / two.tokens:.2f} times the tokens{kept}"
                )

    compare("particle_filtering", "beam_search")
    compare("particle_filtering", "beam_search argmax")
    compare("particle_filtering weighted", "beam_search")
    for label in (
        "efficient_tree_search",
        "efficient_tree_search, λb = 2",
        "efficient_tree_search, nodes counted",
        "efficient_tree_search, no embeddings",
        "efficient_tree_search, no embeddings, λd = 1",
    ):
        compare(label, "rebase")
    for label in ("best_of_n, hackable reward", "best_of_majority, hackable reward"):
        for low, high in pairwise(widths):
            if (label, low) in by and (label, high) in by:
                points, error = difference(by[label, high], by[label, low])
                lines.append(f"- {label}: N = {high} against N = {low}: {points:+.1f} ± {error:.1f} points")
    for reward in ("", ", overconfident reward"):
        for variant in ("particle_filtering entropic", "particle Gibbs, 2 iterations"):
            compare(variant + reward, "particle_filtering" + reward)
    return "\n".join(lines)


SHOWN = (
    *(
        "majority",
        "best_of_n, outcome reward",
        "best_of_majority, outcome reward",
        "best_of_n, hackable reward",
    ),
    *(
        "best_of_majority, hackable reward",
        "particle_filtering",
        "beam_search",
        "diverse_verifier_tree_search",
    ),
    *("rebase", "efficient_tree_search"),
)


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Accuracy against tokens, as a picture."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "quality", "font.size": 9, "svg.fonttype": "none"}
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for place, label in enumerate(SHOWN):
        mine = [one for one in cells if one.label == label]
        if mine:
            axes.errorbar(
                [one.tokens for one in mine],
                [100 * one.accuracy for one in mine],
                [100 * one.error for one in mine],
                label=label,
                color=pyplot.get_cmap("tab10")(place),
                marker="osD^v<>ph*"[place],
                linestyle="--" if "hackable" in label else "-",
                capsize=2,
            )
    axes.set_xscale("log")
    axes.set_xlabel("generated tokens a problem (mean)")
    axes.set_ylabel("accuracy, %")
    axes.set_title("Simulated problems at N = 4, 16, 64, with 95 % intervals", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None}, facecolor="white")
