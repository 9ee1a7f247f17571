"""`aliquot models`, `strategies`, `verifiers`: what a running service offers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table

from service.cli.client import DEFAULT_URL, Url, catalog, console, fail, plain

NEED: Final = {
    "none": "needs no verifier",
    "default": "takes self_certainty where no verifier is named",
    "required": "needs a verifier",
}


def models(url: Url = DEFAULT_URL) -> None:
    """List the configured models, and whether each one's engine answers."""
    table = Table("model", "engine", "hardware", box=None, pad_edge=False, header_style="dim")
    for model in catalog(url, "models"):
        ready = "[green]answers[/]" if model["ready"] else "[red]does not answer[/]"
        table.add_row(plain(model["id"], "bold"), ready, plain(model["hardware"] or "not given"))
    console.print(table)


def strategies(
    name: Annotated[str | None, typer.Argument(help="A strategy to tell everything of.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """List the strategies and their parameters; with a name, all there is to know of that one."""
    listed = catalog(url, "strategies")
    known = [strategy["name"] for strategy in listed]
    if name is not None and name not in known:
        raise fail(f"There is no strategy {name}. There are {', '.join(known)}.")
    for strategy in listed:
        if name in (None, strategy["name"]):
            for part in _strategy(strategy, whole=name is not None):
                console.print(part)


def verifiers(url: Url = DEFAULT_URL) -> None:
    """List the verifiers that a request can name."""
    table = Table("verifier", "kind", "what", box=None, pad_edge=False, header_style="dim")
    for verifier in catalog(url, "verifiers"):
        table.add_row(
            plain(verifier["name"], "bold"), plain(verifier["kind"]), plain(verifier["description"])
        )
    console.print(table)


def _strategy(strategy: dict[str, Any], whole: bool) -> Iterator[RenderableType]:
    yield plain(strategy["name"], "bold green").append(f"  {NEED[strategy['verifier']]}", "dim")
    paragraphs = [part.replace("\n", " ") for part in strategy["description"].split("\n\n")]
    for paragraph in paragraphs if whole else paragraphs[:1]:
        yield Padding(plain(paragraph), (0, 0, 1 if whole else 0, 2))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, schema in strategy["params"].get("properties", {}).items():
        about = plain(schema.get("description", "")).append(_domain(schema), "dim")
        table.add_row(plain(name, "cyan"), f"= {_value(schema.get('default'))}", about)
    yield Padding(table, (0, 0, 1, 4))


def _value(value: Any) -> str:
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    return "null" if value is None else str(value)


def _domain(schema: dict[str, Any]) -> str:
    return f" ({', '.join(schema['enum'])})" if "enum" in schema else ""
