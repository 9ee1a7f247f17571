"""`aliquot calibrate`: what a model's samples are worth on a task, measured on problems with known answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from service.calibration.asking import Asking, Refused
from service.calibration.data import DataError, Problem, read_problems
from service.calibration.grading import Graded, readable
from service.calibration.log import Log, LogError, Settings, default_path
from service.calibration.running import MOST_FAILURES, Calibration, Progress
from service.cli.calibrating import Shown, many, side_unscored, warnings_of
from service.cli.client import (
    DEFAULT_URL,
    INTERRUPTED,
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
from service.profile_schemas import MOST_IN_ALL, MOST_PROBLEMS, MOST_SAMPLES
from service.schemas import DEFAULT_TASK
from verifiers.workers import Workers

if TYPE_CHECKING:
    from service.drawing.calibration import Curve

MOST_TASK = 128
"""Characters of a task's name."""
FORMATS = ("auto", "math", "number", "choice", "json", "text")


def _option(panel: str, help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **more)


_MEASURED, _DRAWN, _KEPT = "What is measured", "How samples are drawn", "Where it is kept"

Data = Annotated[Path, _option(_MEASURED, "Problems and their answers, a JSON object a line.")]
Model = Annotated[str | None, _option(_MEASURED, "Default: the service's first.")]
Task = Annotated[str, _option(_MEASURED, "The name that the numbers are kept under.")]
Verifier = Annotated[str | None, _option(_MEASURED, "One whose scores are measured too.")]
Format = Annotated[str, _option(_MEASURED, f"When an answer is right: {', '.join(FORMATS)}.")]
Limit = Annotated[
    int | None, _option(_MEASURED, "Most problems, from the first on.", min=1, max=MOST_PROBLEMS)
]
Samples = Annotated[int, _option(_DRAWN, "Samples of each problem.", min=2, max=MOST_SAMPLES)]
MaxTokens = Annotated[int | None, _option(_DRAWN, "Most tokens of one sample.", min=1)]
Temperature = Annotated[float | None, _option(_DRAWN, "Sampling temperature, 0.01 to 2.", min=0.01, max=2)]
Concurrency = Annotated[int, _option(_DRAWN, "Problems asked at once.", min=1, max=1000)]
LogPath = Annotated[
    Path | None, _option(_KEPT, "All responses. Default: DATA.MODEL.TASK.calibration.jsonl.", metavar="PATH")
]
Out = Annotated[Path | None, _option(_KEPT, "The picture. Default: the log's name, ending in .svg.")]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a calibration is of, and where it is kept."""

    settings: Settings
    task: str
    format: str
    concurrency: int
    log: Path
    picture: Path


def calibrate(
    data: Data,
    model: Model = None,
    task: Task = DEFAULT_TASK,
    verifier: Verifier = None,
    format: Format = "auto",
    limit: Limit = None,
    samples: Samples = 16,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    concurrency: Concurrency = 4,
    log: LogPath = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Measure a model on problems with known answers, to predict what budgets buy. Goes on where it was stopped."""
    if format not in FORMATS:
        raise fail(f"There is no --format {format} to calibrate with. There are {', '.join(FORMATS)}.")
    _check_task(task)
    problems, repeated = _problems(data, limit, verifier)
    _check_size(problems, samples)
    model = _model(url, model)
    kept = log or default_path(data, model, task)
    picture = out or kept.with_suffix(".svg")
    if picture.resolve() in (data.resolve(), kept.resolve()):
        raise fail(f"--out {picture} is the data or the log itself. Name another file.")
    check_writable(picture, "--out")
    settings = Settings(model, samples, verifier, max_tokens, temperature)
    plan = Plan(settings, task, format, concurrency, kept, picture)
    with reaching(url):
        progress = asyncio.run(_run(plan, problems, url))
    _check_whole(progress, plan)
    warnings = [*warnings_of(progress, verifier)]
    if repeated:
        warnings.insert(0, f"{many(repeated, 'line')} repeated an earlier problem and counted once.")
    _conclude(plan, [progress.graded[i] for i in sorted(progress.graded)], warnings, url)


def _problems(data: Path, limit: int | None, verifier: str | None) -> tuple[list[Problem], int]:
    try:
        problems, repeated = read_problems(data, limit)
    except DataError as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"--data {data} cannot be read: {error.strerror}. Name another file.") from error
    for problem in problems:
        if verifier and problem.recorded and all(r.score is None for r in problem.recorded):
            raise fail(
                f"{data}, line {problem.line} has responses and no scores of {verifier}. "
                "Add scores, one for each response, or leave --verifier out."
            )
    return problems, repeated


def _check_task(task: str) -> None:
    """Refuse a name that the service would not take in the end, before anything is paid for."""
    if not 1 <= len(task) <= MOST_TASK:
        raise fail(f"--task has {len(task)} characters. Give it a name of 1 to {MOST_TASK}.")
    if any("\ud800" <= character <= "\udfff" for character in task):
        raise fail("--task is not UTF-8. Give it another name.")


def _check_size(problems: list[Problem], samples: int) -> None:
    """Refuse what the service would not take in the end, before anything is paid for."""
    total = sum(len(problem.recorded) or samples for problem in problems)
    if total > MOST_IN_ALL or len(problems) > MOST_PROBLEMS:
        raise fail(
            f"{many(len(problems), 'problem')} with {total:,} samples are too many: {MOST_PROBLEMS:,} problems and "
            f"{MOST_IN_ALL:,} samples are taken. Lower --limit or --samples."
        )


def _model(url: str, asked: str | None) -> str:
    """The model's name, known to a service that answers."""
    known = [model["id"] for model in catalog(url, "models")]
    if asked is not None and asked not in known:
        raise fail(f"There is no model {asked}. There are {', '.join(known)}.")
    return asked or known[0]


async def _run(plan: Plan, problems: list[Problem], url: str) -> Progress:
    """Every problem graded, or what had been when it was stopped."""
    workers = Workers()
    try:
        with Shown(len(problems)) as shown:
            await _check_references(problems, plan.format, workers)
            calibration = Calibration(problems, plan.format, workers, shown.told)
            await _fill(calibration, plan, problems, url)
            return calibration.progress
    finally:
        await workers.close()


async def _fill(calibration: Calibration, plan: Plan, problems: list[Problem], url: str) -> None:
    if all(problem.recorded for problem in problems):
        await calibration.take(None)
        return
    try:
        with Log(plan.log, plan.settings) as log:
            await calibration.take(log)
            limits = httpx.Limits(max_connections=plan.concurrency)
            timeout = httpx.Timeout(10, read=None)
            async with httpx.AsyncClient(
                base_url=url, limits=limits, timeout=timeout, headers=credentials()
            ) as client:
                asking = Asking(client, plan.settings, plan.format, calibration.stopping)
                await calibration.run(asking, log, plan.concurrency)
    except LogError as error:
        raise fail(str(error)) from error
    except Refused as error:
        raise fail(f"{error}{_kept(calibration.progress, plan)}") from error
    except OSError as error:
        raise fail(f"--log {plan.log} cannot be written: {error.strerror}. Name another file.") from error


def _kept(progress: Progress, plan: Plan) -> str:
    if not progress.graded:
        return ""
    return (
        f" {many(len(progress.graded), 'problem')} of {progress.problems} are in {plan.log}: "
        "the same command goes on from there."
    )


async def _check_references(problems: list[Problem], format: str, workers: Workers) -> None:
    """Say where no response could be right, before any is paid for."""
    asked = [problem for problem in problems if not problem.correct]
    good = await asyncio.gather(*(readable(problem, format, workers) for problem in asked))
    bad = [problem.line for problem, is_good in zip(asked, good, strict=True) if not is_good]
    if not bad:
        return
    where = f"The reference of {many(len(bad), 'problem')}, line {bad[0]} first, is no answer of the format {format}"
    if len(bad) == len(problems):
        raise fail(f"{where}. Choose another with --format.")
    errors.print(plain(f"{where}: nothing is counted as right there.", "yellow"), soft_wrap=True)


def _check_whole(progress: Progress, plan: Plan) -> None:
    """End the command where it was stopped, or where the service brought no more."""
    if progress.stopped:
        errors.print(plain(f"Stopped.{_kept(progress, plan)}"), soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    if progress.done < progress.problems or not progress.graded:
        *_, last = progress.left_out.values()
        raise fail(
            f"{last} {min(MOST_FAILURES, len(progress.left_out))} problems one after the other brought nothing."
            + _kept(progress, plan)
        )


def _conclude(plan: Plan, graded: list[Graded], warnings: list[str], url: str) -> None:
    """Fit, show, draw, and let the service keep the numbers."""
    from service.calibration.fitting import curves, fit
    from service.cli.calibrated import show

    settings, verifier = plan.settings, plan.settings.verifier
    if verifier and (unknown := side_unscored(graded, verifier)):
        warnings, verifier = [*warnings, unknown], None
    measured = [problem.measurements(scored=verifier is not None) for problem in graded]
    try:
        profile = fit(measured, verifier, settings.max_tokens)
        found = curves(profile, graded, verifier, settings.max_tokens, settings.samples)
    except ValueError as error:
        raise fail(str(error)) from error
    show(profile, found, verifier)
    for warning in warnings:
        console.print(plain(warning, "yellow"), soft_wrap=True)
    _draw(plan, graded, found)
    body = {
        "model": settings.model,
        "task": plan.task,
        "verifier": verifier,
        "max_tokens": settings.max_tokens,
        "problems": measured,
    }
    with reaching(url):
        endpoint = f"{url.rstrip('/')}/v1/profiles"
        check(httpx.post(endpoint, json=body, headers=credentials(admin=True), timeout=60))
    console.print(plain(f"Kept as {settings.model}'s numbers on the task {plan.task}."), soft_wrap=True)


def _draw(plan: Plan, graded: list[Graded], found: list[Curve]) -> None:
    from service.drawing.calibration import draw_curves

    facts = [many(len(graded), "problem"), many(sum(len(g.right) for g in graded), "sample")]
    if plan.settings.max_tokens:
        facts.append(f"{plan.settings.max_tokens:,} tokens at the most")
    drawn = draw_curves(f"{plan.settings.model} on {plan.task}", facts, found)
    write(plan.picture, drawn.encode(), "--out")
    console.print(plain(f"Wrote {plan.picture}."), soft_wrap=True)
