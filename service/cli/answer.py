"""An outcome on the terminal: the answer, the votes as bars, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.client import console, plain
from verifiers.reasoning import split_reasoning

BAR: Final = 24
MOST_ANSWERS: Final = 10
STOPPED: Final = {
    "completed": "completed",
    "accepted": "stopped at an accepted sample",
    "consensus": "stopped when the vote was decided",
    "budget_samples": "stopped by the budget's samples",
    "budget_tokens": "stopped by the budget's tokens",
    "budget_seconds": "stopped by the budget's seconds",
    "budget_eflops": "stopped by the budget's eFLOPs",
    "budget_usd": "stopped by the budget's USD",
    "engine_failed": "stopped when the engine failed",
}


def show(outcome: dict[str, Any], to: Console = console) -> None:
    """Print an outcome of `/v1/scale`; a terminal gets whole words a line, a file the lines as they are."""
    best, scaling = outcome["candidates"][0], outcome["scaling"]
    reasoning, content = split_reasoning(best["text"])
    if reasoning:
        to.print(plain(reasoning.strip(), "dim"), soft_wrap=not to.is_terminal)
    to.print(plain(content.strip()), soft_wrap=not to.is_terminal)
    if scaling["answers"]:
        to.print()
        to.print(_votes(scaling["answers"], to.width))
    to.print()
    to.print(plain(_cost(scaling), "dim"))
    if scaling["chosen_by"] == "auto":
        for reason in _reasons(scaling):
            to.print(plain(reason, "dim"), soft_wrap=not to.is_terminal)
    if best["finish_reason"] == "length":
        to.print("The answer was cut at its length limit.", style="yellow")
    for warning in scaling["warnings"]:
        to.print(plain(warning, "yellow"))


def _votes(answers: list[dict[str, Any]], width: int) -> Table:
    scored = any(answer["score"] is not None for answer in answers)
    most = max(answer["votes"] for answer in answers)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("answer", no_wrap=True, overflow="ellipsis", max_width=max(16, width - BAR - 20))
    table.add_column("votes", justify="right")
    if most:
        table.add_column("", no_wrap=True, style="green")
    if scored:
        table.add_column("score", justify="right")
    for answer in answers[:MOST_ANSWERS]:
        cells: list[Text | str] = [plain(" ".join(answer["answer"].split())), str(answer["votes"])]
        if most:
            cells.append("█" * max(1, round(BAR * answer["votes"] / most)))
        if scored:
            cells.append("" if answer["score"] is None else f"{answer['score']:.3f}")
        table.add_row(*cells)
    if len(answers) > MOST_ANSWERS:
        table.add_row(f"[dim]and {len(answers) - MOST_ANSWERS} more[/]")
    return table


def _reasons(scaling: dict[str, Any]) -> Iterator[str]:
    """Why this strategy and so many samples, and what the answer is worth by the task's numbers."""
    yield from scaling.get("reasons", ())
    right = scaling.get("estimates", {}).get("right")
    if right is not None:
        share = "over 99" if right > 0.99 else f"{100 * right:.0f}"
        yield f"By the numbers of its task, the answer is right with {share} %."


def _cost(scaling: dict[str, Any]) -> str:
    spent = scaling["spent"]
    parts = [
        scaling["strategy"],
        f"{spent['samples']} samples",
        f"{spent['tokens']} tokens generated",
        f"{spent['prompt_tokens']} read"
        + (f" ({spent['cached_tokens']} cached)" if spent["cached_tokens"] else ""),
    ]
    if spent["verifier_tokens"]:
        parts.append(f"{spent['verifier_tokens']} read by {scaling['verifier']}")
    parts.append(f"{spent['seconds']:.2f} s")
    if spent["usd"] is not None:
        parts.append(f"{spent['usd']:.2g} USD")
    why = scaling["stopped_because"]
    return ", ".join(parts) + f"; {STOPPED.get(why, why)}."
