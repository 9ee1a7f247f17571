"""The command line: `aliquot serve`, `ask` and so on, one module each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from service.cli.ask import ask
from service.cli.calibrate import calibrate
from service.cli.cost import cost
from service.cli.doctor import doctor
from service.cli.keys import KEY_EXAMPLES
from service.cli.listing import models, strategies, verifiers
from service.cli.recommend import recommend
from service.cli.replay import replay
from service.cli.serve import serve
from service.cli.simulate import simulate
from service.cli.trace import trace

EXAMPLES: Mapping[Callable[..., None], Sequence[str]] = {
    serve: ["aliquot serve", "aliquot serve --config world.yaml --host 0.0.0.0 --port 80"],
    ask: [
        'aliquot ask "What is 7 + 8?" --samples 16 --format number',
        'aliquot ask "What is 7 + 8?" --samples 64 --param stop=beta',
        "aliquot ask - --strategy best_of_n --verifier judge < question.txt",
    ],
    trace: ["aliquot trace out.json --out tree.svg"],
    replay: ["aliquot replay journal.jsonl --out out.json"],
    cost: [
        "aliquot cost --hardware h100-sxm --samples 16 --output-tokens 4096",
        "aliquot cost --model qwen3-8b --attention topk,budget=256 --verifier model=qwen3-8b",
        "aliquot cost --hardware l4 --shape params=0.6e9,num_layers=28,num_attention_heads=16,"
        "num_kv_heads=8,head_dim=128",
    ],
    recommend: [
        'aliquot recommend "What is 7 + 8?" --usd 0.01',
        "aliquot recommend --prompt-tokens 512 --target-accuracy 0.9 --task gsm8k --plot frontier.svg",
    ],
    calibrate: [
        "aliquot calibrate --data gsm8k_test.jsonl --task gsm8k --limit 200 --format number",
        "aliquot calibrate --data problems.jsonl --samples 32 --verifier prm --max-tokens 2048",
    ],
    models: ["aliquot models --url http://10.0.0.7:8080"],
    strategies: ["aliquot strategies", "aliquot strategies majority"],
    verifiers: ["aliquot verifiers"],
    simulate: ["aliquot simulate", "aliquot simulate --accuracy 0.2 --steps 8 --seconds-per-step 0.02"],
    doctor: ["aliquot doctor --config world.yaml"],
}

app = typer.Typer(
    help="Aliquot: a prompt and a compute budget in, the best answer that the budget buys out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aliquot {version('aliquot')}")
        raise typer.Exit


@app.callback()
def _aliquot(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _epilog(examples: Sequence[str]) -> str:
    return "\n\n".join(["Examples", *(f"[cyan]{example}[/]" for example in examples)])


for command, examples in EXAMPLES.items():
    app.command(epilog=_epilog(examples))(command)
keys = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
for name, (command, examples) in KEY_EXAMPLES.items():
    keys.command(name, epilog=_epilog(examples))(command)
app.add_typer(
    keys,
    name="keys",
    help="Make, list and revoke API keys, and set tenants' limits. Needs ALIQUOT_ADMIN_KEY.",
)


def main() -> None:
    """The console script `aliquot`."""
    app()
