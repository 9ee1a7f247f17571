"""What the commands that ask a running service share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.text import Text

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Url = Annotated[str, typer.Option(help="Where the service listens.", envvar="ALIQUOT_URL")]
DEFAULT_URL: Final = "http://127.0.0.1:8080"
INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, by a shell's convention."""

_CONTROLS: Final = dict.fromkeys({*range(32), *range(127, 160)} - {ord("\n"), ord("\t")})


def plain(text: str, style: str = "") -> Text:
    """Text from elsewhere, for the terminal: no markup is read in it, and no control sequence reaches it."""
    return Text(text.translate(_CONTROLS), style)


def fail(sentence: str) -> typer.Exit:
    """Say what went wrong, on the way out."""
    errors.print(plain(sentence, "bold red"), soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns a service that cannot be reached into a sentence, and Ctrl-C into a quiet end."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise fail(
            f"No Aliquot answers at {url}. Start one with `make serve`, or name it with --url."
        ) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise fail(f"{url} is no address of a service. Give --url one like {DEFAULT_URL}.") from error
    except httpx.TimeoutException as error:
        raise fail(f"{url} did not answer in time. `aliquot doctor` looks over it.") from error
    except httpx.HTTPError as error:
        raise fail(f"{url} closed the connection before it had answered. Its log says why.") from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def credentials(*, admin: bool = False) -> dict[str, str]:
    """The headers with ALIQUOT_API_KEY, where it is set; of an `admin` with ALIQUOT_ADMIN_KEY, where that is."""
    for variable in ("ALIQUOT_ADMIN_KEY", "ALIQUOT_API_KEY")[not admin :]:
        if key := os.environ.get(variable, "").strip():
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise fail(f"{variable} holds what no key does. Set it to the key alone.")
            return {"Authorization": f"Bearer {key}"}
    return {}


def check(response: httpx.Response) -> None:
    """End the command with the service's own sentence where it answers an error."""
    if response.is_error:
        response.read()
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{response.url} answered {response.status_code}; is it an Aliquot?"
        if response.status_code == 401:
            message = f"{message} The commands take it from ALIQUOT_API_KEY."
        raise fail(str(message))


def catalog(url: str, kind: str) -> list[dict[str, Any]]:
    """What the service lists at `/v1/KIND`: models, strategies or verifiers."""
    with reaching(url):
        response = httpx.get(f"{url.rstrip('/')}/v1/{kind}", headers=credentials(), timeout=10)
    check(response)
    try:
        return list(response.json()["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise fail(f"{response.url} did not answer a list; is it an Aliquot?") from error
