"""The simulated world: problems, a model that solves them step by step, and rewards of known quality.

All that is to be known of a solution stands in its tokens, and in its text: nothing is kept between calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from engines.base import Message
from engines.simulated.problems import SimulatedProblem, SimulatedSettings, make_problem
from engines.simulated.scores import embedding, outcome_score, process_score, process_scores
from engines.simulated.words import ASSISTANT, END, MARKED, USER, Tokens, decode, render
from engines.simulated.writing import Writer

_KEPT: Final = 4096
_NAMED = re.compile(r"\bProblem ([0-9]{1,9})\b")
_BEYOND = 10**9
"""Problems that texts stand for by their words alone begin here."""


class SimulatedWorld:
    """Reasoning problems by index, a model that solves them, and rewards: a function of `settings` and `seed`."""

    def __init__(self, settings: SimulatedSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or SimulatedSettings()
        self.seed = seed
        self.writer = Writer(self.settings, seed)
        self._problems: dict[int, SimulatedProblem] = {}
        self._asked: dict[Tokens, SimulatedProblem] = {}

    def problem(self, index: int) -> SimulatedProblem:
        """Problem `index`, a whole number."""
        found = self._problems.get(index)
        if found is None:
            if len(self._problems) >= _KEPT:
                self._problems.clear()
            found = self._problems[index] = make_problem(self.settings, self.seed, index)
        return found

    def question(self, index: int) -> str:
        """What to ask so that problem `index`, from 0 to 999,999,999, is solved."""
        steps = self.problem(index).steps
        return f"Problem {index}: it takes {steps} steps to a whole number. Which one?"

    def asked(self, text: str) -> SimulatedProblem:
        """The problem that `text` asks: the one it names first, as "Problem 17", else one that its words stand for."""
        named = _NAMED.search(text)
        if named:
            return self.problem(int(named[1]))
        data = text.strip().encode("utf-8", "replace")
        return self.problem(_BEYOND + (crc32(data) << 32 | crc32(data[::-1])))

    def asked_in(self, messages: Sequence[Message]) -> SimulatedProblem:
        """The problem that a conversation's last user's message asks."""
        return self.split(render(messages))[0]

    def split(self, tokens: Tokens) -> tuple[SimulatedProblem, Tokens]:
        """The problem that a prompt asks, and what it holds of a solution.

        A rendered chat asks in its last user's message, and its solution follows the last mark of the assistant; in a
        plain text the solution begins at the first "[simulated]".
        """
        start = _after_last(tokens, ASSISTANT)
        if not start:
            start = tokens.index(MARKED) if MARKED in tokens else len(tokens)
        asked = tokens[:start]
        problem = self._asked.get(asked)
        if problem is None:
            if len(self._asked) >= _KEPT:
                self._asked.clear()
            message = asked[_after_last(asked, USER) :]
            text = decode(message[: message.index(END)] if END in message else message)
            problem = self._asked[asked] = self.asked(text)
        return problem, tokens[start:]

    def process_scores(self, problem: SimulatedProblem, response: str) -> list[float]:
        """The process reward after each step of `response`, in (0, 1)."""
        return process_scores(problem, response, self.settings.process)

    def process_score(self, problem: SimulatedProblem, steps: Sequence[str]) -> float:
        """The process reward after the last of `steps`, the pieces, separators included, of a response so far."""
        return process_score(problem, "".join(steps), self.settings.process)

    def outcome_score(self, problem: SimulatedProblem, response: str, *, hackable: bool = False) -> float:
        """The outcome reward of a whole response, in (0, 1); a `hackable` one loves a few wrong answers."""
        return outcome_score(problem, response, self.settings.outcome, hackable=hackable)

    def embedding(self, text: str) -> tuple[float, ...]:
        """A unit vector: steps that mean the same are close."""
        return embedding(text)


def _after_last(tokens: Tokens, token: int) -> int:
    """The place after the last `token`; 0 where there is none."""
    return len(tokens) - tokens[::-1].index(token) if token in tokens else 0
