"""A calibration's progress on the terminal, and what is to be said of it in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from service.calibration.grading import Graded
from service.calibration.running import Progress
from service.cli.client import errors, plain

FEW: Final = 10
"""Problems below which the numbers are called guesses."""


class Shown:
    """Progress as a bar on a terminal, and as nothing elsewhere; a stop is told everywhere."""

    def __init__(self, problems: int) -> None:
        columns = (
            TextColumn("calibrating"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=errors, transient=True, disable=not errors.is_terminal)
        self._task = self._bar.add_task("", total=problems)
        self._stopping = False

    def told(self, progress: Progress) -> None:
        self._bar.update(self._task, description=_said(progress), completed=progress.done)
        if progress.stopped and not self._stopping:
            self._stopping = True
            words = "Stopping: what is under way is finished first. Ctrl-C again drops it."
            errors.print(plain(words), soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _said(progress: Progress) -> str:
    right = f"{100 * progress.right / progress.samples:.1f} % right, " if progress.samples else ""
    return f"{right}{progress.tokens:,} tokens"


def warnings_of(progress: Progress, verifier: str | None) -> Iterator[str]:
    """What is to be known of a calibration beside its numbers."""
    graded = progress.graded.values()
    if len(graded) < FEW:
        yield f"{many(len(graded), 'problem')} tell little: these numbers are guesses. Give {FEW} or more."
    if not any(0 < sum(g.right) < len(g.right) for g in graded):
        yield (
            "No problem has both right and wrong samples: how much more samples help is a guess. "
            "Give problems that the model answers right sometimes."
        )
    if progress.left_out:
        (reason, _), *_ = Counter(progress.left_out.values()).most_common(1)
        yield f"{many(len(progress.left_out), 'problem')} left out, to be tried again by the same command: {reason}"
    if guessed := sum(g.problem.guessed for g in graded):
        yield f"Tokens of {many(guessed, 'problem')} are guessed, 4 characters each: `tokens` may hold them."
    scored = [r.score is not None for g in graded for r in g.responses]
    if verifier and not all(scored):
        yield f"{many(scored.count(False), 'response')} have no score of {verifier}."
    if not verifier and any(g.problem.recorded and r.score is not None for g in graded for r in g.responses):
        yield "The recorded scores are not used: --verifier names what gave them."
    yield from progress.warnings


def side_unscored(graded: Sequence[Graded], verifier: str) -> str | None:
    """Why a verifier cannot be measured, as a warning: it scored no right response, or no wrong one."""
    scored = {
        right for g in graded for r, right in zip(g.responses, g.right, strict=True) if r.score is not None
    }
    for side, name in ((True, "right"), (False, "wrong")):
        if side not in scored:
            return (
                f"{verifier} scored no {name} response, so that nothing is known of it; all else is kept. "
                "Measure more problems to measure it."
            )
    return None


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
