"""A response's reasoning, which comes before `</think>`, and its content, which comes after."""

from __future__ import annotations

from typing import Literal

OPEN = "<think>"
CLOSE = "</think>"

Part = Literal["reasoning", "content"]


def split_reasoning(text: str, *, started: bool = False) -> tuple[str | None, str]:
    """The reasoning (None where there is none) and the content of a whole response.

    Reasoning is what comes before the first `</think>`, with or without a `<think>`; without `</think>`, all
    that follows a `<think>` at the start, or all of the text where the prompt had opened it (`started`).
    Line ends right after a marker are left out.
    """
    opened = text.lstrip().startswith(OPEN)
    before, closed, after = text.partition(CLOSE)
    if not (opened or closed or started):
        return None, text
    reasoning = before.lstrip().removeprefix(OPEN) if opened else before
    return reasoning.lstrip("\n"), after.lstrip("\n")


class ReasoningSplitter:
    """Splits a response as it streams, markers cut anywhere.

    Gives what `split_reasoning` gives, with one exception: where neither the response nor the prompt
    (`started`) opens the reasoning, a `</think>` comes too late to say that there was some: all is content.
    """

    def __init__(self, *, started: bool = False) -> None:
        self._started = started
        self._part: Part | None = None
        self._spaces: list[str] = []
        self._held = ""
        self._after_marker = started

    def feed(self, delta: str) -> list[tuple[Part, str]]:
        """What is certain now, in order: text of the reasoning, then of the content. Never empty strings."""
        self._held += delta if self._part or self._held else self._without_spaces(delta)
        if self._part is None and not self._begin():
            return []
        said: list[tuple[Part, str]] = []
        if self._part == "reasoning":
            before, closed, after = self._take().partition(CLOSE)
            if closed:
                self._part, self._after_marker = "content", True
                self._held = after
            else:
                cut = len(before) - _overlap(before)
                before, self._held = before[:cut], before[cut:]
            said.append(("reasoning", before))
        if self._part == "content":
            said.append(("content", self._take()))
        return [(part, text) for part, text in said if text]

    def finish(self) -> list[tuple[Part, str]]:
        """What was held back in case it was a marker."""
        if self._part is None:
            self._settle("reasoning" if self._started else "content")
        return [(self._part, rest)] if self._part and (rest := self._take()) else []

    def _without_spaces(self, delta: str) -> str:
        text = delta.lstrip()
        self._spaces.append(delta[: len(delta) - len(text)])
        return text

    def _begin(self) -> bool:
        """Whether the start is known to open the reasoning, or not to."""
        if self._held.startswith(OPEN):
            self._part, self._after_marker = "reasoning", True
            self._held = self._held[len(OPEN) :]
        elif not OPEN.startswith(self._held):
            self._settle("reasoning" if self._started else "content")
        return self._part is not None

    def _settle(self, part: Part) -> None:
        self._part = part
        self._held = "".join(self._spaces) + self._held

    def _take(self) -> str:
        """All that is held, without line ends right after a marker."""
        text, self._held = self._held.lstrip("\n") if self._after_marker else self._held, ""
        self._after_marker = self._after_marker and not text
        return text


def _overlap(text: str) -> int:
    """Length of the longest end of `text` that begins `</think>`."""
    return next(
        length for length in range(min(len(CLOSE) - 1, len(text)), -1, -1) if text.endswith(CLOSE[:length])
    )
