"""Search step by step: every path of a frontier continued in one engine call, and scored in one verifier call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Annotated, Any

from pydantic import Field

from budgets.ledger import MIN_SHARE
from engines.base import FinishReason, Sample
from strategies.base import Candidate
from strategies.responding import STATEFUL
from strategies.scores import complete, probabilities
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
    generated; then it is drawn in one step, and a warning says so.
    """

    def __init__(self, search: Search, settings: Stepwise, **facts: Any) -> None:
        problem = search.problem
        self.tree = SearchTree(problem.prompt)
        self.finished: list[int] = []
        self.depth = 0
        self.facts = facts
        self.search = search
        self._separator = settings.separator
        self._step_tokens = settings.step_tokens
        self._whole = not STATEFUL.isdisjoint(problem.sampling) or settings.separator in problem.stop
        if self._whole:
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
        return complete(probabilities([self.tree[node].score for node in nodes]))

    async def grow(self, counts: Mapping[int, int]) -> list[int]:
        """Continue each node by one step, as many times as `counts` says; the new nodes, scored, in order of `counts`.

        One engine call and one verifier call, whatever the frontier. Fewer come back where samples failed or the
        budget had no room for all. Raises as `Search.sample` does.
        """
        tree, problem = self.tree, self.search.problem
        share = gcd(*counts.values())
        sources = [node for node, count in counts.items() for _ in range(count // share)]
        longest = max(tree[node].length for node in counts)
        most = problem.max_tokens - longest
        draw = await self.search.sample(
            [tree.prefix(node) for node in sources],
            share,
            max_tokens=most if self._whole else min(most, self._step_tokens),
            stop=problem.stop if self._whole else (self._separator, *problem.stop),
            begins=ROOT in counts,
        )
        self.depth += 1
        drawn = sorted(draw.drawn, key=lambda d: (d.prompt, d.choice))
        new = [self._add(sources[d.prompt], d.sample) for d in drawn]
        self.finished += [node for node in new if tree[node].finished]
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
        paths = [self.tree.trajectory(node) for node in nodes]
        contents = [split_reasoning(path.sample.text)[1] for path in paths]
        answers = await self.search.canonical(contents)
        return [
            Candidate(node, path.response(content, answer), self.tree[node].score)
            for node, path, content, answer in zip(nodes, paths, contents, answers, strict=True)
        ]

    def chosen(self, ranked: Sequence[Candidate]) -> dict[str, Any]:
        """Note the best path in the trace; the estimates of the outcome."""
        if ranked:
            self.search.report("chosen", node=ranked[0].index, answer=ranked[0].answer)
        grown, kept = zip(*self.tree.history, strict=True) if self.tree.history else ((), ())
        return {"depth": len(grown), "kv_tokens": {"grown": grown, "kept": kept}} if grown else {}

    def _add(self, parent: int, sample: Sample) -> int:
        ended = sample.stopped_at == self._separator and not self._whole
        node = self.tree.add(parent, sample, sample.text + self._separator if ended else sample.text)
        self.tree[node].finished = self._finish(node, sample, ended)
        return node

    def _finish(self, node: int, sample: Sample, ended: bool) -> FinishReason | None:
        """Why a path is over: it ended by itself, or has no room for another step. A cut step goes on."""
        if sample.finish_reason == "stop" and not ended:
            return "stop"
        room = self.search.problem.max_tokens - self.tree[node].length
        return "length" if self._whole or room < MIN_SHARE else None

    async def _score(self, new: Sequence[int]) -> None:
        paths = [self.tree.trajectory(node) for node in new]
        asked = []
        for node, path in zip(new, paths, strict=True):
            sample = path.sample
            content = split_reasoning(sample.text)[1] or sample.text
            asked.append(Candidate(node, path.response(content, None)))
        for candidate in await self.search.score(asked):
            self.tree[candidate.index].score = candidate.score

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
