"""`aliquot recommend`: how a budget is best spent, or what a target costs, before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.table import Table

from service.cli.client import DEFAULT_URL, Url, check, console, credentials, fail, plain, reaching
from service.cli.files import check_writable, write
from service.drawing.chart import percent, written
from service.drawing.frontier import Offered, draw_frontier


def _option(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


Json = Mapping[str, Any]

UNITS: Final = {"usd": "USD", "eflops": "FLOP", "seconds": "seconds", "tokens": "tokens"}
"""What costs are told in, the one that a picture takes first, first."""

_ASKED, _CAPS, _GIVEN = "What is asked", "What it may cost", "What is given"

Question = Annotated[str | None, typer.Argument(help="The question; or give --prompt-tokens.")]
PromptTokens = Annotated[int | None, _option(_ASKED, "The prompt's tokens, in place of a question.")]
Target = Annotated[float | None, _option(_ASKED, "The accuracy to be reached, 0 to 1.")]
K = Annotated[
    int | None, typer.Option("-k", help="Answers to return; one right is enough.", rich_help_panel=_ASKED)
]
WrongCost = Annotated[
    float | None, _option(_ASKED, "What a wrong answer costs, where a right one is worth 1.")
]
Samples = Annotated[float | None, _option(_CAPS, "Most samples.")]
Tokens = Annotated[float | None, _option(_CAPS, "Most generated tokens.")]
Seconds = Annotated[float | None, _option(_CAPS, "Most seconds.")]
Eflops = Annotated[float | None, _option(_CAPS, "Most eFLOPs, in FLOP: 1e15.")]
Usd = Annotated[float | None, _option(_CAPS, "Most US dollars.")]
Models = Annotated[list[str] | None, _option(_GIVEN, "Default: all of them; repeatable.", metavar="NAME")]
Task = Annotated[str | None, _option(_GIVEN, "The calibrated task that the question is one of.")]
Verifiers = Annotated[
    list[str] | None, _option(_GIVEN, "A verifier that may be used; repeatable.", metavar="NAME")
]
NoVerifiers = Annotated[
    bool, typer.Option("--no-verifiers", help="None may be used.", rich_help_panel=_GIVEN)
]
Concurrency = Annotated[int | None, _option(_GIVEN, "Requests like this one that run at once.")]
Difficulty = Annotated[
    float | None, _option(_GIVEN, "How hard it is among its task's: 0 easiest, 1 hardest.")
]
Plot = Annotated[Path | None, typer.Option(help="Draw accuracy against cost into this file, as SVG.")]
Raw = Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")]


def recommend(
    question: Question = None,
    prompt_tokens: PromptTokens = None,
    target_accuracy: Target = None,
    k: K = None,
    wrong_answer_cost: WrongCost = None,
    samples: Samples = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    eflops: Eflops = None,
    usd: Usd = None,
    model: Models = None,
    task: Task = None,
    verifier: Verifiers = None,
    no_verifiers: NoVerifiers = False,
    concurrency: Concurrency = None,
    difficulty: Difficulty = None,
    plot: Plot = None,
    raw: Raw = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Recommend a plan for a budget, a target or both: strategy, samples, length, model and verifier."""
    if (question is None) == (prompt_tokens is None):
        raise fail("Give the question or --prompt-tokens, one of the two.")
    if no_verifiers and verifier:
        raise fail("--no-verifiers and --verifier contradict each other. Give one of them.")
    if plot:
        check_writable(plot, "--plot")
    caps = _given(samples=samples, tokens=tokens, seconds=seconds, eflops=eflops, usd=usd)
    body = _given(
        messages=None if question is None else [{"role": "user", "content": question}],
        prompt_tokens=prompt_tokens,
        models=model or None,
        task=task,
        budget=caps or None,
        target_accuracy=target_accuracy,
        verifiers=[] if no_verifiers else verifier or None,
        k=k,
        wrong_answer_cost=wrong_answer_cost,
        concurrency=concurrency,
        difficulty=difficulty,
    )
    reply = _ask(url, body)
    if raw:
        console.print_json(data=reply)
    else:
        _show(reply)
    if plot:
        write(plot, _drawn(reply, task).encode(), "--plot")


def _given(**values: Any) -> dict[str, Any]:
    return {name: _whole(value) for name, value in values.items() if value is not None}


def _whole(value: Any) -> Any:
    """Whole numbers as such, however they are written: a cap of 1e6 tokens is one of 1000000."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _ask(url: str, body: Json) -> dict[str, Any]:
    with reaching(url):
        headers = {"Content-Type": "application/json", **credentials()}
        endpoint = f"{url.rstrip('/')}/v1/budget/recommend"
        response = httpx.post(endpoint, content=json.dumps(body), headers=headers, timeout=30)
    check(response)
    try:
        reply = response.json()
    except ValueError:
        reply = None
    if not isinstance(reply, dict) or not {"plan", "predicted", "frontier", "axis"} <= reply.keys():
        raise fail(f"{response.url} did not answer a plan; is it an Aliquot?")
    return reply


def _show(reply: Json) -> None:
    plan, predicted = reply["plan"], reply["predicted"]
    console.print(plain(_sentence(plan), "bold green"), soft_wrap=True)
    console.print()
    table = Table("predicted", "", "90 % interval", box=None, pad_edge=False, header_style="dim")
    accuracy = predicted["accuracy"]
    table.add_row("accuracy", percent(accuracy["value"]), _between(accuracy, percent))
    for unit, name in UNITS.items():
        if cost := predicted["cost"][unit]:
            table.add_row(name, written(cost["value"]), _between(cost, written))
    console.print(table)
    console.print()
    console.print(_frontier(reply))
    console.print()
    for reason in reply["reasons"]:
        console.print(plain(reason), soft_wrap=True)
    for warning in reply["warnings"]:
        console.print(plain(warning, "yellow"), soft_wrap=True)


def _sentence(plan: Json) -> str:
    """The plan in words, with the parameters that it sets."""
    params = ", ".join(f"{name}={value}" for name, value in plan["params"].items() if value is not None)
    verifier = f", judged by {plan['verifier']}" if plan["verifier"] else ""
    many = "1 sample" if plan["samples"] == 1 else f"{plan['samples']:,} samples"
    return (
        f"{plan['strategy']}{f' ({params})' if params else ''}: {many} of {plan['model']}, "
        f"at most {_tokens(plan['max_tokens'])} each{verifier}"
    )


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _between(triple: Json, form: Any) -> str:
    return f"{form(triple['low'])} to {form(triple['high'])}"


def _frontier(reply: Json) -> Table:
    """The best that each cost buys; the recommended plan stands out."""
    known = [unit for unit in UNITS if any(point["cost"][unit] for point in reply["frontier"])]
    known.sort(key=lambda unit: unit != reply["axis"])
    table = Table("what costs buy", "accuracy", *map(UNITS.__getitem__, known), box=None, pad_edge=False)
    table.header_style = "dim"
    for column in table.columns[1:]:
        column.justify = "right"
    for point, name in zip(reply["frontier"], _names(reply["frontier"])[0], strict=True):
        costs = (point["cost"][unit] for unit in known)
        table.add_row(
            plain(name, "bold" if point["plan"] == reply["plan"] else ""),
            percent(point["accuracy"]["value"]),
            *("" if cost is None else written(cost["value"]) for cost in costs),
        )
    return table


def _names(points: Sequence[Json]) -> tuple[list[str], list[str]]:
    """What tells each plan from the others, in few words, and what is common to all of them."""
    parts = [_parts(point["plan"]) for point in points]
    common = [
        values[0] for values in zip(*(part[1:] for part in parts), strict=True) if len(set(values)) == 1
    ]
    told = [
        head + "".join(f", {part}" for part in tail if part and part not in common) for head, *tail in parts
    ]
    return told, [part for part in common if part]


def _parts(plan: Json) -> tuple[str, str, str, str]:
    """The strategy and its samples, the verifier, the model and the length."""
    select = plan["params"].get("select", "argmax")
    return (
        f"{plan['strategy']}{f' {select}' if select != 'argmax' else ''} ×{plan['samples']:,}",
        f"with {plan['verifier']}" if plan["verifier"] else "",
        str(plan["model"]),
        f"up to {_tokens(plan['max_tokens'])}",
    )


def _drawn(reply: Json, task: str | None) -> str:
    """The frontier with the recommended plan, by the cost that plans were compared by."""
    points = [*reply["frontier"]]
    if all(point["plan"] != reply["plan"] for point in points):
        chosen = reply["predicted"]
        points.append({"plan": reply["plan"], "accuracy": chosen["accuracy"], "cost": chosen["cost"]})
    unit = reply["axis"]
    points.sort(key=lambda point: float(point["cost"][unit]["value"]))
    names, common = _names(points)
    offered = [
        Offered(
            name,
            max(point["cost"][unit]["value"], 1e-12),
            point["accuracy"]["value"],
            point["accuracy"]["low"],
            point["accuracy"]["high"],
            chosen=point["plan"] == reply["plan"],
        )
        for point, name in zip(points, names, strict=True)
    ]
    facts = [*common, f"task {task}" if task else "no task named"]
    return draw_frontier("What a budget buys", facts, offered, UNITS[unit])
