"""How the simulated model writes: steps that read like prose, and whose numbers alone tell where the solution stands.

    [simulated] Step 1: counting the last pair, moving the sum above the line, so we get 17.
    Step 2: …
    So weighing the first part, the answer is 412.

A step is a header, two clauses that make up its length, and a number; the last one has a clause and the answer.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import NamedTuple

from engines.simulated.problems import MODULUS, RIGHT, SMALLEST, Draws, SimulatedProblem, SimulatedSettings
from engines.simulated.scores import state_after
from engines.simulated.words import (
    APPROACHES,
    COMMA,
    END,
    EOS,
    MARKED,
    SEP,
    SEPARATOR,
    STOP,
    ClauseBank,
    Tokens,
    decode,
    number_token,
    token_number,
    word,
)

_FIXED = 8
"""Tokens of a step that are no clause: header, approach, number, full stop, separator."""
_WAYS = tuple(tuple(map(word, approach)) for approach in APPROACHES)
_STATES = (word(" the"), word(" answer"), word(" is"))
_ENDS = tuple(
    (*way, number_token(SMALLEST + number), STOP, SEP) for way in _WAYS for number in range(MODULUS)
)


class Path(NamedTuple):
    """Where a solution stands: writing `step` (the first is 1), in `state`, with the tokens `begun` of it written.

    A solution that has ended is past its problem's last step.
    """

    step: int
    state: int
    begun: Tokens


class Writer:
    """Continues solutions. A step and its bits cost a few microseconds, so that a world of problems costs seconds."""

    def __init__(self, settings: SimulatedSettings, seed: int) -> None:
        words = settings.step_tokens - _FIXED
        shortest = max(3, round(words / 2 * (1 - settings.length_spread)))
        self.bank = ClauseBank(shortest, words - shortest, seed)
        self._heads = [_head(step) for step in range(settings.steps[1] + 1)]

    def path(self, problem: SimulatedProblem, solution: Tokens) -> Path:
        """Where a solution stands. What this model did not write is taken for steps all the same."""
        if not solution:
            return Path(1, RIGHT, ())
        if solution[-1] == EOS or solution[-1] == END:
            return Path(problem.steps + 1, RIGHT, ())
        done = solution.count(SEP)
        if done == 0:
            return Path(1, RIGHT, solution)
        end = len(solution)
        while solution[end - 1] != SEP:
            end -= 1
        number = token_number(solution[end - 3]) if end > 2 else None
        if number is None or done >= problem.steps:
            state = state_after(problem, decode(solution[:end]).split(SEPARATOR))
        else:
            state = problem.state_shown(done, number)
        return Path(min(done + 1, problem.steps), state, solution[end:])

    def write(
        self, problem: SimulatedProblem, path: Path, draws: Draws, most: int, *, one_step: bool = False
    ) -> Tokens:
        """What the model writes from `path` on: `most` tokens at most, to its end or (`one_step`) the step's.

        A solution that was cut anywhere and is continued is distributed as one that never was.
        """
        step, state, begun = path
        if step > problem.steps:
            return (EOS,)
        parts: list[Tokens] = []
        length = 0
        clauses, heads = self.bank.clauses, self._heads
        while length < most and step <= problem.steps:
            if begun or step == problem.steps:
                rest, state = self._finish(problem, Path(step, state, begun), draws)
                parts.append(rest)
                length += len(rest)
                begun = ()
            else:
                bits = draws.bits()
                state = problem.after(step, state, (bits >> 22) * 2**-42, draws)
                first, second = clauses[bits & 1023], clauses[bits >> 10 & 1023]
                end = _ENDS[(bits >> 20 & 3) * MODULUS + problem.shown(step, state) - SMALLEST]
                parts += (heads[step], first, second, end)
                length += len(first) + len(second) + _FIXED
            step += 1
            if one_step:
                break
        return tuple(chain.from_iterable(parts))[:most]

    def logprobs(self, problem: SimulatedProblem, path: Path, written: Tokens) -> list[float]:
        """The log-probability of each token of what was written from `path` on, under this very model."""
        step, state, begun = path
        if step > problem.steps:
            return [0.0]
        logprobs: list[float] = []
        left = begun + written
        while left:
            end = left.index(SEP) + 1 if SEP in left else len(left)
            said, left = left[:end], left[end:]
            state, likely = self._likely(problem, Path(step, state, said))
            logprobs += likely
            step += 1
        return logprobs[len(begun) :]

    def _finish(self, problem: SimulatedProblem, path: Path, draws: Draws) -> tuple[Tokens, int]:
        """The rest of a step of which `path.begun` is written, and the state after it."""
        step, state, begun = path
        head = self._header(problem, step)
        last = step == problem.steps
        missing, said = head[len(begun) :], begun[len(head) :]
        if begun[: len(head)] != head[: len(begun)]:
            missing, said = (), begun
        rest = [missing]
        for _ in range(1 if last else 2):
            if COMMA in said:
                said = said[said.index(COMMA) + 1 :]
            else:
                rest.append(self.bank.rest(said, draws.bits()))
                said = ()
        lead = _STATES if last else _way(said, draws)
        if len(said) > len(lead) and said[: len(lead)] == lead:
            number = said[len(lead)]
            state = _state(problem, step, number)
        else:
            state = problem.after(step, state, draws.uniform(), draws)
            number = number_token(problem.stated(state) if last else problem.shown(step, state))
        end = (*lead, number, STOP, EOS if last else SEP)
        rest.append(end[len(said) :] if end[: len(said)] == said else end)
        return tuple(chain.from_iterable(rest)), state

    def _likely(self, problem: SimulatedProblem, path: Path) -> tuple[int, list[float]]:
        """The state after a step of which `path.begun` is written, and its tokens' log-probabilities.

        Tokens that leave no choice, and those that this model does not write, have 0.
        """
        step, state, said = path
        logprobs = [0.0] * len(said)
        place = len(self._header(problem, step))
        last = step == problem.steps
        if said[:place] != self._header(problem, step):
            return state, logprobs
        for _ in range(1 if last else 2):
            end = said.index(COMMA, place) + 1 if COMMA in said[place:] else len(said)
            logprobs[place:end] = self.bank.logprobs(said[place:end])
            place = end
        if place < len(said) and not last:
            logprobs[place] = -math.log(len(_WAYS))
        place += len(_STATES) if last else len(_WAYS[0])
        if place < len(said):
            after = _state(problem, step, said[place])
            logprobs[place] = math.log(problem.chance(step, state, after) or 1.0)
            state = after
        return state, logprobs

    def _header(self, problem: SimulatedProblem, step: int) -> Tokens:
        if step < problem.steps:
            return self._heads[step]
        return (word("So"),) if step > 1 else (MARKED, word(" So"))


def _head(step: int) -> Tokens:
    begin = (MARKED, word(" Step")) if step == 1 else (word("Step"),)
    return (*begin, number_token(step), word(":"))


def _way(said: Tokens, draws: Draws) -> Tokens:
    """The approach that `said` begins, else one drawn."""
    begun = [way for way in _WAYS if said and way[0] == said[0]]
    return begun[0] if begun else _WAYS[draws.bits() % len(_WAYS)]


def _state(problem: SimulatedProblem, step: int, token: int) -> int:
    """The state in which `step` writes the number `token`."""
    number = token_number(token)
    if step == problem.steps:
        return problem.state_stated(-1 if number is None else number)
    return problem.state_shown(step, -1 if number is None else number)
