"""The command line: `aliquot serve`, `ask`, `models`, `strategies`, `verifiers`, `doctor`."""

from __future__ import annotations

import typer

from service.cli.ask import ask
from service.cli.doctor import doctor
from service.cli.listing import models, strategies, verifiers
from service.cli.serve import serve

app = typer.Typer(
    help="Aliquot: a prompt and a compute budget in, the best answer that the budget buys out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (serve, ask, models, strategies, verifiers, doctor):
    app.command()(command)


def main() -> None:
    """The console script `aliquot`."""
    app()
