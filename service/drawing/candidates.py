"""The responses of a run that did not search: a row for each answer, a mark for each response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from service.drawing.marks import mark
from service.drawing.model import Response
from service.drawing.ramp import Ramp, shade
from service.drawing.svg import boxed, plain, text, title

ROW: Final = 30
NAMES: Final = 220
VOTES: Final = NAMES + 40
SCORE: Final = VOTES + 90
MARKS: Final = SCORE + 30
"""Where columns begin, or end where they hold numbers."""
WIDTH: Final = 960
MOST_ANSWERS: Final = 30
MOST_MARKS: Final = 140


class Candidates:
    """The chart, laid out: answers in the order of their best response, responses of one answer best first."""

    def __init__(self, responses: Sequence[Response], ramp: Ramp | None) -> None:
        groups: dict[str | None, list[Response]] = {}
        for response in responses:
            groups.setdefault(response.answer, []).append(response)
        without = groups.pop(None, [])
        self.groups = list(groups.items())[:MOST_ANSWERS] + ([(None, without)] if without else [])
        self.left_out = max(len(groups) - MOST_ANSWERS, 0)
        self.best = responses[0]
        self.ramp = ramp
        self.height = ROW * (len(self.groups) + 1)

    def notes(self) -> list[str]:
        return [f"{self.left_out:,} more answers are left out."] if self.left_out else []

    def draw(self, x: float, y: float) -> Iterator[str]:
        """Rows from `y` down, headed by what they show."""
        for at, words, kind in (
            (0, "answer", "m"),
            (VOTES, "votes", "m end"),
            (SCORE, "best score" if self.ramp else "", "m end"),
            (MARKS, "its responses", "m"),
        ):
            yield text(x + at, y + 12, words, kind)
        most = max(min(len(group), MOST_MARKS) for _, group in self.groups)
        pitch = min((WIDTH - MARKS - 40) / (most + 1), 20)
        for i, (answer, group) in enumerate(self.groups):
            yield from self._row(answer, group, x, y + ROW * (i + 1.4), pitch)

    def _row(
        self, answer: str | None, group: Sequence[Response], x: float, y: float, pitch: float
    ) -> Iterator[str]:
        best = answer == self.best.answer
        yield (
            text(x, y + 4, "no answer", "m")
            if answer is None
            else boxed(x, y + 5, answer, NAMES - 24, size=13, kind="part" if best else "name")
        )
        for i, response in enumerate(group[:MOST_MARKS]):
            yield mark(
                x + MARKS + (i + 0.5) * pitch,
                y,
                min(max(pitch * 0.4, 1.6), 7),
                title(*self._about(response)),
                fill=shade(self.ramp, response.score),
                finished=True,
                chosen=response is self.best,
            )
        if len(group) > MOST_MARKS:
            yield text(x + MARKS + MOST_MARKS * pitch + 4, y + 4, f"+{len(group) - MOST_MARKS:,}", "m")
        if answer is not None:
            yield text(x + VOTES, y + 4, f"{group[0].votes:,}", "end")
        scores = [response.score for response in group if response.score is not None]
        if scores:
            yield text(x + SCORE, y + 4, f"{max(scores):.4g}", "end")

    def _about(self, response: Response) -> Iterator[str]:
        score = "no score" if response.score is None else f"score {response.score:.6g}"
        yield f"{score}, {response.tokens:,} tokens" + ("; the answer" if response is self.best else "")
        yield plain(response.text, 200)
