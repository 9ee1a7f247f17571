"""`aliquot ask`: one question, with its progress, its votes and its cost."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from service.cli.client import DEFAULT_URL, Url, check, console, fail, get, reaching

BAR = 24


def ask(
    question: Annotated[str, typer.Argument(help="The question, or - to read it from standard input.")],
    strategy: Annotated[
        str | None, typer.Option(help="How to spend the budget; `aliquot strategies` lists them.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Most samples.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Most generated tokens.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Most seconds.")] = None,
    verifier: Annotated[str | None, typer.Option(help="Verifier; `aliquot verifiers` lists them.")] = None,
    reference: Annotated[str | None, typer.Option(help="The right answer, for the verifier exact.")] = None,
    format: Annotated[
        str | None, typer.Option(help="When answers are the same: number, math, choice, text, …")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the strategy, as name=value; repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model; default: the service's first.")] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, for the same answer again.")] = None,
    raw: Annotated[bool, typer.Option("--json", help="Print the whole outcome as JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Ask a running service, and show the answer, the votes and what it cost."""
    text = typer.get_text_stream("stdin").read() if question == "-" else question
    messages = [{"role": "system", "content": system}] if system else []
    scaling: dict[str, Any] = {
        "strategy": strategy,
        "budget": _given(samples=samples, tokens=tokens, seconds=seconds) or None,
        "verifier": {"name": verifier or "exact", "reference": reference} if reference else verifier,
        "answer": {"format": format} if format else None,
        "params": dict(map(_param, param or [])) or None,
    }
    body = {
        "model": model or get(url, "/v1/models")["data"][0]["id"],
        "messages": [*messages, {"role": "user", "content": text}],
        "stream": True,
        **_given(temperature=temperature, seed=seed),
        **_given(scaling=_given(**scaling) or None),
    }
    outcome = _run(url, body)
    if raw:
        console.print_json(data=outcome)
    else:
        _show(outcome)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _param(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise fail(f"--param {text} should read name=value.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _run(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The outcome, with the steps shown on the terminal as they happen."""
    with reaching(url), console.status("sampling …") as status:
        endpoint = url.rstrip("/") + "/v1/scale"
        with httpx.stream("POST", endpoint, json=body, timeout=httpx.Timeout(10, read=None)) as response:
            check(response)
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    event: dict[str, Any] = json.loads(line[6:])
                    if "error" in event:
                        raise fail(event["error"]["message"])
                    if event["object"] == "scaling.outcome":
                        return event
                    status.update(_step(event))
    raise fail("The service closed the connection before it answered. Its log says why.")


def _step(event: dict[str, Any]) -> str:
    facts = {name: value for name, value in event.items() if name not in ("object", "event", "at")}
    return f"{event['at']:.1f} s  {event['event']}  " + "  ".join(f"{k} {v}" for k, v in facts.items())[:100]


def _show(outcome: dict[str, Any]) -> None:
    scaling = outcome["scaling"]
    console.print(outcome["candidates"][0]["text"].strip(), markup=False)
    answers = scaling["answers"]
    most = max((answer["votes"] for answer in answers), default=0)
    if most:
        table = Table("answer", "votes", "", "score", box=None, pad_edge=False, header_style="dim")
        for answer in answers[:10]:
            bar = "█" * max(1, round(BAR * answer["votes"] / most))
            score = "" if answer["score"] is None else f"{answer['score']:.3f}"
            table.add_row(answer["answer"][:60], str(answer["votes"]), f"[green]{bar}[/]", score)
        console.print()
        console.print(table)
    spent = scaling["spent"]
    console.print(
        f"\n[dim]{scaling['strategy']}: {spent['samples']} samples, {spent['tokens']} tokens generated, "
        f"{spent['prompt_tokens']} read ({spent['cached_tokens']} cached), {spent['seconds']:.2f} s; "
        f"{scaling['stopped_because'].replace('_', ' ')}[/]"
    )
    for warning in scaling["warnings"]:
        console.print(f"[yellow]{warning}[/]")
