"""`aliquot ask`: one question, with its progress, its votes and its cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from service.cli.answer import show
from service.cli.client import (
    DEFAULT_URL,
    Url,
    catalog,
    check,
    console,
    credentials,
    errors,
    fail,
    plain,
    reaching,
)
from service.cli.files import check_writable, write


def _option(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


SECONDS = 120.0

_BUDGET, _SAMPLE = "How the budget is spent", "How each sample is drawn"
_FORMATS = "When two answers are the same: auto, number, math, choice, json, text."

Question = Annotated[str, typer.Argument(help="The question, or - to read it from standard input.")]
Strategy = Annotated[str | None, _option(_BUDGET, "See `aliquot strategies`.")]
Samples = Annotated[int | None, _option(_BUDGET, "Most samples.")]
Tokens = Annotated[int | None, _option(_BUDGET, "Most generated tokens, of all samples.")]
Seconds = Annotated[float | None, _option(_BUDGET, "Most seconds. With another cap given: 120.")]
Eflops = Annotated[float | None, _option(_BUDGET, "Most eFLOPs, in FLOP, by the cost law.")]
Usd = Annotated[float | None, _option(_BUDGET, "Most USD, of a model with a price.")]
Params = Annotated[
    list[str] | None, _option(_BUDGET, "A parameter of the strategy; repeatable.", metavar="NAME=VALUE")
]
Verifier = Annotated[str | None, _option(_BUDGET, "See `aliquot verifiers`.")]
Reference = Annotated[str | None, _option(_BUDGET, "The right answer, for the verifier exact.")]
Format = Annotated[str | None, _option(_BUDGET, _FORMATS)]
Task = Annotated[str | None, _option(_BUDGET, "The kind of problem, for its numbers. Default: default.")]
Model = Annotated[str | None, _option(_SAMPLE, "Default: the service's first.")]
System = Annotated[str | None, _option(_SAMPLE, "System message.")]
Temperature = Annotated[float | None, _option(_SAMPLE, "Sampling temperature, 0 to 2.")]
MaxTokens = Annotated[int | None, _option(_SAMPLE, "Most tokens of one sample.")]
Seed = Annotated[int | None, _option(_SAMPLE, "Seed of all random choices.")]
Raw = Annotated[bool, typer.Option("--json", help="Print the whole outcome as JSON.")]
Trace = Annotated[
    Path | None, typer.Option(help="Write the whole outcome to this file; `aliquot trace` draws it.")
]


def ask(
    question: Question,
    strategy: Strategy = None,
    samples: Samples = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    eflops: Eflops = None,
    usd: Usd = None,
    param: Params = None,
    verifier: Verifier = None,
    reference: Reference = None,
    format: Format = None,
    task: Task = None,
    model: Model = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    raw: Raw = False,
    trace: Trace = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Ask a running service, and show the answer, the votes and what it cost."""
    if trace:
        check_writable(trace, "--trace")
    text = _from_stdin() if question == "-" else question
    messages = [{"role": "system", "content": system}] if system else []
    scaling = _given(
        strategy=strategy,
        budget=_budget(samples=samples, tokens=tokens, seconds=seconds, eflops=eflops, usd=usd),
        verifier={"name": verifier or "exact", "reference": reference} if reference else verifier,
        answer={"format": format} if format else None,
        params=dict(map(_param, param or [])) or None,
        task=task,
    )
    body = {
        "model": model or catalog(url, "models")[0]["id"],
        "messages": [*messages, {"role": "user", "content": text}],
        "stream": True,
        **_given(temperature=temperature, max_tokens=max_tokens, seed=seed, scaling=scaling or None),
    }
    outcome = _run(url, body)
    if raw:
        console.print_json(data=outcome)
    else:
        show(outcome)
    if trace:  # after the answer is shown: a full disk must not cost it
        write(trace, json.dumps(outcome).encode(), "--trace")


def _budget(**caps: float | None) -> dict[str, Any] | None:
    """The caps that were asked for, and one on time: a model that never ends would keep its user waiting."""
    budget = _given(**caps)
    return {"seconds": SECONDS, **budget} if budget else None


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _from_stdin() -> str:
    try:
        return typer.get_binary_stream("stdin").read().decode()
    except UnicodeDecodeError as error:
        raise fail("Standard input is not UTF-8. Convert it first.") from error


def _param(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise fail(f"--param {text} should read NAME=VALUE, as in --param stop=beta.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _run(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The outcome, with the steps shown on the terminal as they happen."""
    what = TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
    )
    columns = SpinnerColumn(), TimeElapsedColumn(), what
    bar = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    with reaching(url), bar:
        task = bar.add_task(_bare(f"asking {body['model']}"))
        tokens = 0
        endpoint = url.rstrip("/") + "/v1/scale"
        headers = {"Content-Type": "application/json", **credentials()}
        timeout = httpx.Timeout(10, read=None)
        with httpx.stream(
            "POST", endpoint, content=json.dumps(body), headers=headers, timeout=timeout
        ) as answer:
            check(answer)
            for event in _events(answer):
                if "error" in event:
                    raise fail(event["error"]["message"])
                if event["object"] == "scaling.outcome":
                    return event
                tokens += event.get("tokens", 0)
                bar.update(task, description=_bare(f"{_step(event)}; {tokens} tokens generated"))
    raise fail(f"{url} closed the connection before it had answered. Its log says why.")


def _bare(text: str) -> str:
    """Text for the bar, which no control sequence of a name may reach."""
    return plain(text).plain


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON of each event. Lines end at \\n alone: httpx would also split at U+2028, which answers may hold."""
    held = b""
    for part in answer.iter_bytes():
        *lines, held = (held + part).split(b"\n")
        yield from (json.loads(line[6:]) for line in lines if line.startswith(b"data: {"))


def _step(event: dict[str, Any]) -> str:
    if event["event"] == "sample":
        asked = event["prefixes"] * event["n"]
        return f"{event['finished']} of {asked} samples finished"
    if event["event"] == "score":
        return f"{len(event['scores'])} responses scored by {event['verifier']}"
    if event["event"] == "steps":
        return f"depth {event['depth']}: {len(event['nodes'])} steps"
    return str(event["event"]).replace("_", " ")
