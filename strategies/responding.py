"""Whole responses to the prompt: sampled, continued where the budget's share cut them, and read for their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engines.base import Sample
from strategies.base import Candidate, Problem
from strategies.journal import Draw, Drawn
from strategies.search import Search
from verifiers.base import Response
from verifiers.reasoning import split_reasoning

Enough = Callable[[Candidate], Awaitable[bool]]

STATEFUL = frozenset({"structured_outputs", "presence_penalty", "frequency_penalty", "thinking_token_budget"})
"""Sampling fields whose effect depends on all that was generated before."""


async def respond(search: Search, n: int, enough: Enough | None = None) -> list[Candidate]:
    """Draw `n` responses in one engine call, and return those that finished, in the order drawn.

    Where the tokens left cannot give each sample its full length, each gets an equal share, and what the short ones
    leave continues those that were cut. `enough` is awaited with each response as it finishes; once it returns True
    the rest are cancelled. Raises as `Search.sample` does, if not even the first call brought anything.
    """
    prompt, limit = search.problem.prompt, search.problem.max_tokens
    drawing = _Drawing(search, enough, first=search.samples_begun)
    finished = drawing.finished if enough else None
    drawing.take(await search.sample([prompt], n, max_tokens=limit, finished=finished))
    while drawing.cut and not drawing.over:
        prefixes = [prompt + sample.tokens for sample in drawing.resume()]
        longest = max(map(len, prefixes)) - len(prompt)
        with search.spending():
            draw = await search.sample(
                prefixes, 1, max_tokens=limit - longest, begins=False, owes=False, finished=finished
            )
            drawing.take(draw)
            continue
        break
    return await drawing.candidates()


def resumable(sample: Sample, problem: Problem) -> bool:
    """Whether a cut sample can go on in a call of its own as if it had not been cut.

    A grammar, penalties and a thinking budget look at what was generated, and a stop string may have begun: the next
    call would know nothing of it.
    """
    begun = any(sample.text.endswith(stop[:i]) for stop in problem.stop for i in range(1, len(stop)))
    return not begun and STATEFUL.isdisjoint(problem.sampling)


@dataclass(slots=True)
class _Drawing:
    """Samples of one wave, by their choice in its first call; `cut` are those that their share cut short."""

    search: Search
    enough: Enough | None
    first: int
    samples: dict[int, Sample] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    over: bool = False
    _built: dict[int, Candidate] = field(default_factory=dict)
    _resumed: list[int] = field(default_factory=list)

    def take(self, draw: Draw) -> None:
        """Keep what a call brought. What it had no room for stays cut."""
        if self._resumed:
            self.cut += self._resumed[draw.prefixes :]
        for drawn in draw.drawn:
            choice = self._choice(drawn)
            whole = self.samples[choice] = self._whole(drawn)
            if self._is_cut(drawn.sample, whole, draw.max_tokens):
                if resumable(whole, self.search.problem):
                    self.cut.append(choice)
                else:
                    self.search.limit(draw.limited_by or "tokens")
        self.cut.sort()

    def resume(self) -> list[Sample]:
        """The samples that were cut, about to be continued in this order."""
        self._resumed, self.cut = self.cut, []
        return [self.samples[choice] for choice in self._resumed]

    async def finished(self, drawn: Drawn, max_tokens: int) -> bool:
        whole = self._whole(drawn)
        if self.enough and not self._is_cut(drawn.sample, whole, max_tokens):
            choice = self._choice(drawn)
            (self._built[choice],) = await self._build({choice: whole})
            self.over = await self.enough(self._built[choice])
        return self.over

    async def candidates(self) -> list[Candidate]:
        missing = {i: sample for i, sample in sorted(self.samples.items()) if i not in self._built}
        self._built |= zip(missing, await self._build(missing), strict=True)
        return [self._built[i] for i in sorted(self._built)]

    async def _build(self, samples: dict[int, Sample]) -> list[Candidate]:
        contents = [split_reasoning(sample.text)[1] for sample in samples.values()]
        answers = await self.search.canonical(contents)
        return [
            Candidate(self.first + i, Response(sample, content, answer))
            for (i, sample), content, answer in zip(samples.items(), contents, answers, strict=True)
        ]

    def _is_cut(self, part: Sample, whole: Sample, max_tokens: int) -> bool:
        """Whether its share ended it before its own limit did."""
        shared = part.finish_reason == "length" and len(part.tokens) == max_tokens
        return shared and len(whole.tokens) < self.search.problem.max_tokens

    def _choice(self, drawn: Drawn) -> int:
        return self._resumed[drawn.prompt] if self._resumed else drawn.choice

    def _whole(self, drawn: Drawn) -> Sample:
        return self.samples[self._choice(drawn)].continued(drawn.sample) if self._resumed else drawn.sample
