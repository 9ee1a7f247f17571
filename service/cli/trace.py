"""`aliquot trace`: a picture of how a run went, from its outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from service.cli.client import console, fail, plain
from service.cli.files import check_writable, write
from service.drawing import TraceError, draw, read

MOST_BYTES: Final = 2**28

Outcome = Annotated[
    Path,
    typer.Argument(help="An outcome of /v1/scale, as `aliquot ask --trace` writes it, or its trace alone."),
]
Out = Annotated[Path | None, typer.Option(help="Where the picture goes. Default: OUTCOME, ending in .svg.")]


def trace(outcome: Outcome, out: Out = None) -> None:
    """Draw how a run went, as SVG: the search's tree or its particles, scores, KV tokens; else its answers."""
    try:
        with outcome.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise fail(f"{outcome} cannot be read: {error.strerror}.") from error
    if len(data) > MOST_BYTES:
        raise fail(
            f"{outcome} is larger than {MOST_BYTES >> 20} MiB. Draw its `trace` alone, or a part of it."
        )
    picture = out or outcome.with_suffix(".svg")
    if picture.resolve() == outcome.resolve():
        raise fail(f"--out {picture} is the outcome itself. Name another file.")
    check_writable(picture, "--out")
    try:
        drawn = draw(read(data))
    except TraceError as error:
        raise fail(f"{outcome}: {error}") from error
    write(picture, drawn.encode(), "--out")
    console.print(plain(f"Wrote {picture}."), soft_wrap=True)
