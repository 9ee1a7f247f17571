"""`aliquot cost`: what a plan would cost, term by term, without running it."""

from __future__ import annotations

import math
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from service.cli.client import DEFAULT_URL, Url, catalog, check, console, credentials, fail, plain, reaching


def _option(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


NUMBERS = "NAME=VALUE,…"
VERIFIER_FIELDS = ("model", "prompt_tokens", "output_tokens")

_PRICED, _WORK, _FORM = "What is priced", "What it does", "How it is counted"

Model = Annotated[str | None, _option(_PRICED, "Default: the service's first.")]
Shape = Annotated[str | None, _option(_PRICED, "A model in numbers, in place of --model.", metavar=NUMBERS)]
HardwareOption = Annotated[
    str | None,
    _option(_PRICED, "A name such as h100-sxm, or flops, bytes_per_second, memory_bytes as NAME=VALUE,…"),
]
Intensity = Annotated[float | None, _option(_PRICED, "FLOP per byte, in place of --hardware.")]
Prompt = Annotated[int, _option(_WORK, "Tokens of the prompt.")]
Output = Annotated[int, _option(_WORK, "Generated tokens of each sample.")]
Samples = Annotated[int, _option(_WORK, "Samples.")]
Concurrency = Annotated[int, _option(_WORK, "Requests like this one that run at once.")]
Attention = Annotated[str, _option(_WORK, "dense, topk or block_topk, with its numbers: topk,budget=256.")]
SharePrompt = Annotated[bool, _option(_WORK, "Whether the samples share the prompt's KV.")]
Verifier = Annotated[
    str | None,
    _option(_WORK, "model=NAME or numbers as in --shape; prompt_tokens, output_tokens.", metavar=NUMBERS),
]
Published = Annotated[bool, _option(_FORM, "Terms and arithmetic of the Kinetics code alone.")]
Raw = Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")]


def cost(
    model: Model = None,
    shape: Shape = None,
    hardware: HardwareOption = None,
    arithmetic_intensity: Intensity = None,
    prompt_tokens: Prompt = 512,
    output_tokens: Output = 1024,
    samples: Samples = 1,
    concurrency: Concurrency = 1,
    attention: Attention = "dense",
    share_prompt: SharePrompt = True,
    verifier: Verifier = None,
    published: Published = False,
    raw: Raw = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Price a plan without running it: eFLOPs by term, seconds, USD and memory."""
    if arithmetic_intensity is not None and not math.isfinite(arithmetic_intensity):
        raise fail(f"--arithmetic-intensity {arithmetic_intensity} is no finite number. Give one.")
    if model is None and shape is None:
        model = catalog(url, "models")[0]["id"]
    asked = {
        "model": model,
        "shape": shape and _numbers(shape, "--shape"),
        "hardware": _numbers(hardware, "--hardware") if hardware and "=" in hardware else hardware,
        "arithmetic_intensity": arithmetic_intensity,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "samples": samples,
        "concurrency": concurrency,
        "attention": _attention(attention),
        "share_prompt": share_prompt,
        "verifier": verifier and _verifier(verifier),
        "published": published,
    }
    body = {name: value for name, value in asked.items() if value is not None}
    with reaching(url):
        endpoint = f"{url.rstrip('/')}/v1/budget/cost"
        response = httpx.post(endpoint, json=body, headers=credentials(), timeout=10)
    check(response)
    try:
        reply = response.json()
    except ValueError:
        reply = None
    if not isinstance(reply, dict) or "eflops" not in reply:
        raise fail(f"{response.url} did not answer a cost; is it an Aliquot?")
    if raw:
        console.print_json(data=reply)
    else:
        _show(reply)


def _numbers(text: str, option: str) -> dict[str, Any]:
    """The fields of NAME=VALUE,…: numbers, whole ones however they are written, or else texts."""
    fields: dict[str, Any] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or not name or name in fields:
            raise fail(f"{option} {text} should read {NUMBERS}, each name once.")
        try:
            number = float(value)
        except ValueError:
            fields[name] = value
        else:
            if not math.isfinite(number):
                raise fail(f"{option} {text}: {name} is no finite number. Give one.")
            fields[name] = int(number) if number.is_integer() else number
    return fields


def _attention(text: str) -> dict[str, Any]:
    kind, _, numbers = text.partition(",")
    return {"kind": kind, **(_numbers(numbers, "--attention") if numbers else {})}


def _verifier(text: str) -> dict[str, Any]:
    fields = _numbers(text, "--verifier")
    verifier = {name: value for name, value in fields.items() if name in VERIFIER_FIELDS}
    shape = {name: value for name, value in fields.items() if name not in VERIFIER_FIELDS}
    return verifier | ({"shape": shape} if shape else {})


def _show(reply: dict[str, Any]) -> None:
    eflops = dict(reply["eflops"])
    sums = {name: eflops.pop(name) for name in ("compute", "memory", "total")}
    table = Table("", "FLOP", "share", box=None, pad_edge=False, header_style="dim")
    table.columns[1].justify = table.columns[2].justify = "right"
    terms = sorted(((amount, name) for name, amount in eflops.items() if amount), reverse=True)
    for amount, name in [*terms, *((amount, name) for name, amount in sums.items())]:
        share = f"{100 * amount / sums['total']:.1f} %" if sums["total"] > 0 else ""
        table.add_row(plain(name, "bold" if name in sums else ""), f"{amount:.3g}", share)
    console.print(table)
    facts = [
        f"{value}{what}"
        for value, what in (
            (_given(reply["seconds"]), " s by the roofline"),
            (_given(reply["usd"]), " USD"),
            (_given(reply["kv_bytes_peak"], 1e-9), " GB of KV at the most"),
        )
        if value
    ]
    console.print(f"\n{', '.join(facts)}", soft_wrap=True)
    for warning in reply["warnings"]:
        console.print(plain(warning, "yellow"), soft_wrap=True)


def _given(value: float | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{value * scale:.3g}"
