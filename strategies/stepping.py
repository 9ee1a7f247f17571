"""Search step by step: every path of a frontier continued in one engine call, and scored in one verifier call."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import gcd
from typing import Annotated, Any

from pydantic import Field

from budgets.ledger import MIN_SHARE
from engines.base import FinishReason, Sample
from strategies.base import Candidate
from strategies.responding import STATEFUL
from strategies.scores import bounded, complete, probabilities
from strategies.search import Search
from strategies.tree import ROOT, SearchTree
from verifiers.reasoning import split_reasoning


@dataclass(frozen=True, slots=True)
class Stepwise:
    """The parameters of every strategy that searches step by step: where a step ends."""

    separator: Annotated[str, Field(min_length=1, max_length=100, description="Text that ends a step.")] = (
        "\n\n"
    )
    step_tokens: Annotated[
        int, Field(ge=1, le=1_000_000, description="Most tokens of a step; a longer one is cut there.")
    ] = 256


class Walk:
    """A stepwise search under way: its tree, and how it grows.

    A response is constrained as a whole where a grammar, a penalty or a thinking budget looks at all that was
    generated; then it is drawn in one step, and a warning says so. So is a single response: there is nothing to choose
    from on its way.

    `finished` paths are over, `stranded` ones got no continuation, for want of budget or by a failure. `bounded` says
    that all scores so far are probabilities. `facts` go with every event in the trace.
    """

    def __init__(self, search: Search, settings: Stepwise) -> None:
        problem = search.problem
        self.tree = SearchTree(problem.prompt)
        self.finished: list[int] = []
        self.stranded: list[int] = []
        self.bounded = True
        self.depth = 0
        self.facts: Mapping[str, Any] = {}
        self.search = search
        self._separator = settings.separator
        self._answers: dict[int, str | None] = {}
        constrained = not STATEFUL.isdisjoint(problem.sampling) or settings.separator in problem.stop
        self._whole = constrained or search.samples_left == 1
        self._most = problem.max_tokens if self._whole else settings.step_tokens
        if constrained:
            search.warn(
                "Responses were drawn whole, in one step: the request constrains or stops them as a whole."
            )

    def live(self, nodes: Iterable[int]) -> list[int]:
        """Those of `nodes` that are not finished."""
        return [node for node in nodes if not self.tree[node].finished]

    def best_first(self, nodes: Iterable[int]) -> list[int]:
        """By score, highest first; ties by the earliest, those without a score last."""
        scores = {node: self.tree[node].score for node in nodes}
        return sorted(scores, key=lambda node: (scores[node] is None, -(scores[node] or 0.0), node))

    def scores(self, nodes: Iterable[int]) -> list[float]:
        """The nodes' scores in [0, 1]; the lowest stands in where one is missing."""
        return complete(probabilities([self.tree[node].score for node in nodes], self.bounded))

    async def grow(self, counts: Mapping[int, int]) -> list[int]:
        """Continue each node by one step, as many times as `counts` says; the new nodes, scored.

        One engine call and one verifier call, whatever the frontier; two engine calls where some paths have no room
        left for a whole step. Fewer nodes come back where samples failed or the budget had no room for all: then the
        best are continued first. Raises as `Search.sample` does.
        """
        new: list[int] = []
        fit = self.search.fits(sum(counts.values()), self._most)
        for group, most in self._by_room(list(counts) if fit else self.best_first(counts)):
            with self.search.spending() if new else nullcontext():
                new += await self._continue({node: counts[node] for node in group}, most)
        self.depth += 1
        continued = {self.tree[node].parent for node in new}
        self.stranded += [node for node in counts if node not in continued]
        self.finished += [node for node in new if self.tree[node].finished]
        await self._score(new)
        self._report(new)
        return new

    def selected(self, counts: Mapping[int, int], **facts: Any) -> dict[int, int]:
        """Note in the tree's history and the trace which nodes go on, and how often each: those of `counts` above 0."""
        counts = {node: count for node, count in counts.items() if count}
        kv_tokens = self.tree.kv_tokens(self.live(counts))
        grown, _ = self.tree.history[-1]
        self.tree.history[-1] = grown, kv_tokens
        kept = [[node, count] for node, count in counts.items()]
        self.search.report("select", depth=self.depth, kept=kept, kv_tokens=kv_tokens, **facts, **self.facts)
        return counts

    async def candidates(self, nodes: Sequence[int]) -> list[Candidate]:
        """The paths to `nodes` as responses, finished or as far as they came, each with its last step's score."""
        await self._read(nodes)
        paths = {node: self.tree.trajectory(node) for node in nodes}
        contents = {node: split_reasoning(path.sample.text)[1] for node, path in paths.items()}
        return [
            Candidate(node, path.response(contents[node], self._answers[node]), self.tree[node].score)
            for node, path in paths.items()
        ]

    def chosen(self, ranked: Sequence[Candidate]) -> dict[str, Any]:
        """Note the best path in the trace; the estimates of the outcome."""
        if ranked:
            self.search.report("chosen", node=ranked[0].index, answer=ranked[0].answer)
        grown, kept = zip(*self.tree.history, strict=True) if self.tree.history else ((), ())
        return {"depth": len(grown), "kv_tokens": {"grown": grown, "kept": kept}} if grown else {}

    def _by_room(self, nodes: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        """The nodes with room for a whole step, and those with less; and how many tokens a step of each may have."""
        most = self._most
        room = {node: self.search.problem.max_tokens - self.tree[node].length for node in nodes}
        for group in ([n for n in nodes if room[n] >= most], [n for n in nodes if room[n] < most]):
            if group:
                yield group, min(most, *(room[node] for node in group))

    async def _continue(self, counts: Mapping[int, int], most: int) -> list[int]:
        tree, problem = self.tree, self.search.problem
        share = gcd(*counts.values())
        sources = [node for node, count in counts.items() for _ in range(count // share)]
        prefixes = []
        for node in sources:
            prefixes.append(tree.prefix(node))
            await sleep(0)
        draw = await self.search.sample(
            prefixes,
            share,
            max_tokens=most,
            stop=problem.stop if self._whole else (self._separator, *problem.stop),
            begins=ROOT in counts,
            logprobs=not self._whole,
        )
        drawn = sorted(draw.drawn, key=lambda d: (d.prompt, d.choice))
        return [self._add(sources[d.prompt], d.sample) for d in drawn]

    def _add(self, parent: int, sample: Sample) -> int:
        """A step's node. Its text is whole to the last token's end; a stop string may have begun before the step."""
        ended = sample.stopped_at == self._separator and not self._whole
        text = sample.text + self._separator + sample.overrun if ended else sample.text
        stops = self.search.problem.stop
        before = self.tree.tail(parent, max(map(len, stops), default=1) - 1)
        at = min((i for stop in stops if (i := (before + text).find(stop)) >= 0), default=None)
        if at is None:
            node = self.tree.add(parent, sample, text)
            self.tree[node].finished = self._finish(node, sample, ended)
        else:
            node = self.tree.add(parent, sample, text[: max(0, at - len(before))])
            self.tree[node].taken = max(0, len(before) - at)
            self.tree[node].finished = "stop"
        return node

    def _finish(self, node: int, sample: Sample, ended: bool) -> FinishReason | None:
        """Why a path is over: it ended by itself, has no room for another step, or got nowhere. A cut step goes on."""
        if sample.finish_reason == "stop" and not ended:
            return "stop"
        room = self.search.problem.max_tokens - self.tree[node].length
        return "length" if self._whole or room < MIN_SHARE or not sample.tokens else None

    async def _score(self, new: Sequence[int]) -> None:
        """Score the new paths, finished ones with their answers; one that gets no score keeps its parent's."""
        await self._read([node for node in new if self.tree[node].finished])
        asked = []
        for node in new:
            path = self.tree.trajectory(node)
            sample = path.sample
            content = split_reasoning(sample.text)[1] or sample.text
            asked.append(Candidate(node, path.response(content, self._answers.get(node))))
            await sleep(0)
        scored = await self.search.score(asked)
        self.bounded = self.bounded and bounded([candidate.score for candidate in scored])
        for candidate in scored:
            step = self.tree[candidate.index]
            step.score = self.tree[step.parent].score if candidate.score is None else candidate.score

    async def _read(self, nodes: Sequence[int]) -> None:
        """Read the answers of these paths, those that have not been read yet."""
        unread = [node for node in nodes if node not in self._answers]
        contents = [split_reasoning(self.tree.trajectory(node).sample.text)[1] for node in unread]
        self._answers |= zip(unread, await self.search.canonical(contents), strict=True)

    def _report(self, new: Sequence[int]) -> None:
        nodes = [
            {
                "node": node,
                "parent": self.tree[node].parent,
                "tokens": len(self.tree[node].tokens),
                "text": self.tree[node].text,
                "score": self.tree[node].score,
                "finished": self.tree[node].finished is not None,
            }
            for node in new
        ]
        kv_tokens = self.tree.kv_tokens(new)
        self.tree.history.append((kv_tokens, 0))
        self.search.report("steps", depth=self.depth, nodes=nodes, kv_tokens=kv_tokens, **self.facts)
