"""The Kinetics finding (2506.05333) from the cost law alone: what KV reads do to the price of small models.

.venv/bin/python benchmarks/kinetics.py                            # the tables of docs/cost.md
.venv/bin/python benchmarks/kinetics.py --plot docs/kinetics.svg   # and the picture
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from budgets.hardware import HARDWARE
from budgets.kinetics import PUBLISHED_TERMS, cost
from budgets.models import ModelShape
from budgets.workload import DENSE, Attention, BlockTopK, TopK, Workload

PROMPT = 128
LENGTHS = tuple(2**power for power in range(9, 17))
SAMPLES = (1, 16, 256)
PUBLISHED_INTENSITY = 562.5
"""The paper's, of B200: its rate with sparsity over its bandwidth."""
INTENSITY = HARDWARE["b200"].arithmetic_intensity
CONCURRENCY = 64
"""Requests at once in the exact count, which share the reading of weights."""
MOST = 2**20

# Parameters, layers and attention heads as the paper's code has them; each has 8 KV heads of 128. The paper counts a
# tied embedding twice.
PAPER = {
    "Qwen3-0.6B": (0.752e9, 28, 16),
    "Qwen3-1.7B": (2.03e9, 28, 16),
    "Qwen3-4B": (4.02e9, 36, 32),
    "Qwen3-8B": (8.19e9, 36, 32),
    "Qwen3-14B": (14.77e9, 40, 40),
    "Qwen3-32B": (32.76e9, 64, 64),
}
PUBLISHED = {name: ModelShape(p, p, layers, heads, 8, 128) for name, (p, layers, heads) in PAPER.items()}
SMALL, LARGE = "Qwen3-0.6B", "Qwen3-32B"
SPARSE: Mapping[str, Attention] = {
    "dense": DENSE,
    "block-top-k of 1,024": BlockTopK(local=64, block_size=64, topk=15),
    "top-k of 256": TopK(256),
}

Price = Callable[[str, float, float, Attention], float]
"""eFLOPs of samples of a length: model, output tokens, samples, attention."""


def published(model: str, length: float, samples: float = 1, attention: Attention = DENSE) -> float:
    """The paper's terms and numbers. Its arithmetic, where that is sound: the sparse forms are counted exactly."""
    return math.fsum(published_terms(model, length, samples, attention).values())


def published_terms(
    model: str, length: float, samples: float = 1, attention: Attention = DENSE
) -> Mapping[str, float]:
    workload = Workload(PROMPT, length, samples, attention)
    dense = attention == DENSE
    return cost(PUBLISHED[model], workload, PUBLISHED_INTENSITY, published=dense, terms=PUBLISHED_TERMS).terms


def exact_price(configs: Path) -> Price:
    """The exact count, with shapes from each model's `config.json`."""
    shapes = {
        name: ModelShape.from_config(json.loads((configs / f"{name.lower()}.json").read_text()))
        for name in PAPER
    }

    def exact(model: str, length: float, samples: float = 1, attention: Attention = DENSE) -> float:
        workload = Workload(PROMPT, length, samples, attention, concurrency=CONCURRENCY)
        return cost(shapes[model], workload, INTENSITY).total

    return exact


def crossover(model: str, samples: float, attention: Attention = DENSE) -> float | None:
    """The first output length at which attention and its reads cost more than the linear layers.

    None where a million tokens are too few.
    """

    def outweighs(length: int) -> bool:
        terms = published_terms(model, length, samples, attention)
        return sum(terms.values()) > 2 * terms["linear"]

    if not outweighs(MOST):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if outweighs(middle) else (middle, high)
    return high


def crossovers() -> str:
    """Where attention outweighs the linear layers, a line a model."""
    columns: list[tuple[str, int, Attention]] = [(f"N = {n}", n, DENSE) for n in SAMPLES]
    columns += [
        (f"N = 1, {label}", 1, attention) for label, attention in SPARSE.items() if attention != DENSE
    ]
    lines = [
        f"| model | {' | '.join(title for title, _, _ in columns)} |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for model in PAPER:
        found = [crossover(model, samples, attention) for _, samples, attention in columns]
        shown = ("never" if at is None else "at once" if at <= 2 else f"{at:,}" for at in found)
        lines.append(f"| {model} | {' | '.join(shown)} |")
    return "\n".join(lines)


def ratios(price: Price, attention: Attention = DENSE, samples: float = 1) -> list[float]:
    """Price of a 32B sample over that of a 0.6B sample of the same length."""
    return [
        price(LARGE, length, samples, attention) / price(SMALL, length, samples, attention)
        for length in LENGTHS
    ]


def ratio_table(exact: Price) -> str:
    by_params = PAPER[LARGE][0] / PAPER[SMALL][0]
    rows: list[tuple[str, Sequence[float]]] = [("by parameters", [by_params] * len(LENGTHS))]
    rows += [(f"published law, {label}", ratios(published, attention)) for label, attention in SPARSE.items()]
    rows += [("published law, dense, N = 16", ratios(published, samples=16))]
    rows += [(f"exact count, {label}", ratios(exact, attention)) for label, attention in SPARSE.items()]
    return _table("price of 32B / 0.6B", rows, "{:.1f}")


def equal_price(price: Price, attention: Attention = DENSE) -> list[float]:
    """How many 0.6B samples of each length cost what one 32B sample does; the prompt is shared."""
    found = []
    for length in LENGTHS:
        target = price(LARGE, length, 1, attention)
        one, two = (price(SMALL, length, n, attention) for n in (1, 2))
        # The law is a straight line in N, but for weight reads of experts and full budgets.
        found.append(1 + (target - one) / (two - one))
    return found


def equal_price_table() -> str:
    rows = [
        (f"published law, {label}", equal_price(published, attention)) for label, attention in SPARSE.items()
    ]
    return _table("0.6B samples for one of 32B", rows, "{:.1f}")


def shares(model: str) -> list[float]:
    """KV reads' share of the published total, in percent."""
    found = []
    for length in LENGTHS:
        terms = published_terms(model, length)
        found.append(100 * terms["kv_reads"] / sum(terms.values()))
    return found


def _table(title: str, rows: Sequence[tuple[str, Sequence[float]]], form: str) -> str:
    lines = [f"| {title} | {' | '.join(f'{n:,}' for n in LENGTHS)} |", "| --- |" + " ---: |" * len(LENGTHS)]
    lines += [f"| {label} | {' | '.join(form.format(value) for value in values)} |" for label, values in rows]
    return "\n".join(lines)


def draw(exact: Price, path: Path) -> None:
    """What a token costs, and what a 32B sample costs in 0.6B samples, against length."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "kinetics", "font.size": 9, "svg.fonttype": "none"}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    colours = pyplot.get_cmap("tab10")
    for place, model in enumerate(PAPER):
        for label, style in (("dense", "-"), ("block-top-k of 1,024", ":")):
            left.plot(
                LENGTHS,
                [published(model, length, 1, SPARSE[label]) / length / 1e9 for length in LENGTHS],
                style,
                color=colours(place),
                label=model if style == "-" else None,
            )
        left.axhline(2 * PAPER[model][0] / 1e9, color=colours(place), linewidth=0.5, linestyle="--")
    left.set_ylabel("GFLOP-equivalents a generated token")
    left.set_yscale("log")
    left.set_title("One sample: dense (—), block-top-k of 1,024 (···), linear layers alone (--)", fontsize=10)
    right.axhline(PAPER[LARGE][0] / PAPER[SMALL][0], color="grey", linestyle="--", label="by parameters")
    for place, (label, attention) in enumerate(SPARSE.items()):
        right.plot(LENGTHS, ratios(published, attention), color=colours(place), label=f"published, {label}")
        right.plot(LENGTHS, ratios(exact, attention), "-.", color=colours(place), label=f"exact, {label}")
    right.set_ylabel("price of a 32B sample / of a 0.6B sample")
    right.set_ylim(0, 48)
    right.set_title("How much dearer the large model is", fontsize=10)
    left.legend(fontsize=7.5, frameon=False)
    right.legend(fontsize=7.5, loc=(0.57, 0.55))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(LENGTHS, [f"{length:,}" for length in LENGTHS])
        axes.set_xlabel(f"output tokens (prompt of {PROMPT})")
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    configs = Path(__file__).parents[1] / "tests" / "data" / "configs"
    parser.add_argument("--configs", type=Path, default=configs, help="folder of config.json files, by model")
    parser.add_argument("--plot", type=Path, help="write the picture here, as SVG")
    asked = parser.parse_args()
    exact = exact_price(asked.configs)
    print(
        f"Output tokens from which attention costs more than the linear layers (published law, {PROMPT} prompt tokens,"
        f" {PUBLISHED_INTENSITY} FLOP per byte):\n"
    )
    print(crossovers())
    print(
        f"\nBy output tokens; the exact count at {INTENSITY} FLOP per byte and {CONCURRENCY} requests at once:\n"
    )
    print(ratio_table(exact), equal_price_table(), sep="\n\n")
    print()
    print(_table("KV reads' share, %", [(model, shares(model)) for model in PAPER], "{:.0f}"))
    if asked.plot:
        draw(exact, asked.plot)


if __name__ == "__main__":
    main()
