"""What the commands that ask a running service share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

console = Console(highlight=False)

Url = Annotated[str, typer.Option(help="Where the service listens.", envvar="ALIQUOT_URL")]
DEFAULT_URL = "http://127.0.0.1:8080"


def fail(sentence: str) -> typer.Exit:
    """Say what went wrong, on the way out."""
    console.print(f"[bold red]{sentence}[/]", soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns a service that cannot be reached into a sentence."""
    try:
        yield
    except httpx.HTTPError as error:
        raise fail(
            f"No Aliquot answers at {url} ({type(error).__name__}). Start one with `make serve`."
        ) from error


def check(response: httpx.Response) -> None:
    """End the command with the service's own sentence where it answers an error."""
    if response.is_error:
        response.read()
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{response.url} answered {response.status_code}; is it an Aliquot?"
        raise fail(str(message))


def get(url: str, path: str) -> Any:
    """The JSON at `path` of the service."""
    with reaching(url):
        response = httpx.get(url.rstrip("/") + path, timeout=10)
    check(response)
    return response.json()
