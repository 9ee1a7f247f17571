"""`aliquot models`, `strategies`, `verifiers`: what a running service offers."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from service.cli.client import DEFAULT_URL, Url, console, get


def models(url: Url = DEFAULT_URL) -> None:
    """List the configured models, and whether each one's engine answers."""
    table = Table("model", "ready", "hardware")
    for model in get(url, "/v1/models")["data"]:
        table.add_row(model["id"], "yes" if model["ready"] else "[red]no[/]", model["hardware"] or "")
    console.print(table)


def strategies(url: Url = DEFAULT_URL) -> None:
    """List the strategies and their parameters."""
    table = Table("strategy", "verifier", "parameter", "default", "what", show_lines=False)
    for strategy in get(url, "/v1/strategies")["data"]:
        first = strategy["description"].partition("\n\n")[0].replace("\n", " ")
        table.add_row(f"[bold]{strategy['name']}[/]", strategy["verifier"], "", "", first)
        for name, schema in strategy["params"].get("properties", {}).items():
            table.add_row("", "", name, _default(schema), schema.get("description", ""))
    console.print(table)


def verifiers(url: Url = DEFAULT_URL) -> None:
    """List the verifiers that a request can name."""
    table = Table("verifier", "kind", "what")
    for verifier in get(url, "/v1/verifiers")["data"]:
        table.add_row(verifier["name"], verifier["kind"], verifier["description"])
    console.print(table)


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None else str(default)
