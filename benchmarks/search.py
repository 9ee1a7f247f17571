"""What a stepwise search costs beside its tokens: engine calls, KV cache, prefix-cache hits, time spent choosing.

    .venv/bin/python benchmarks/search.py                   # the simulated world, then a vLLM with the bundled model
    .venv/bin/python benchmarks/search.py --only simulated
    .venv/bin/python benchmarks/search.py --url http://127.0.0.1:8100 --model smollm2-135m    # a vLLM that runs already

`hits` is the share of the tokens that could be shared to a full block of the KV cache (a prefix that an earlier call
has read or generated, but for its last token) which the engine found in its prefix cache: by vLLM's own counter, so let
nothing else run on it. `choosing` is the time between a depth's scores and its selection: weights, clusters, the
integer program, resampling.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.base import Call, Engine, Generation, Message
from engines.devices import detect_device
from engines.launch import LaunchSpec, Supervisor, free_port
from engines.separate import SeparateCalls
from engines.simulated.engine import SimulatedEngine
from engines.simulated.world import SimulatedWorld
from engines.vllm import VllmEngine
from strategies.base import Problem
from strategies.registry import build
from strategies.search import Search
from verifiers.answers import make_answers
from verifiers.base import Verifier
from verifiers.self_certainty import SelfCertainty
from verifiers.simulated_reward import SimulatedProcessReward
from verifiers.workers import Workers

HITS = "vllm:prefix_cache_hits_total"
ROOT = Path(__file__).parents[1]
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "particle_filtering": {},
    "rebase": {},
    "efficient_tree_search": {},
    "beam_search": {},
    "diverse_verifier_tree_search": {},
}
QUESTIONS = (
    "A farmer has 12 cows, buys 7 more and sells 4. How many cows are left? Explain step by step.",
    "How do I make a cup of tea? Give numbered steps, with a blank line between them.",
    "A train goes 60 km in one hour. How far does it go in 3 hours? Explain each step in its own paragraph.",
    "Plan a birthday party for ten children. Use short paragraphs.",
)


@dataclass
class Watched:
    """An engine, and what its calls said of the prefix cache: shareable prompt tokens and those found there."""

    engine: Engine
    block: int
    counter: str | None = None
    calls: int = 0
    seconds: float = 0.0
    shareable: int = 0
    hits: int = 0
    _seen: set[tuple[int, ...]] = field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def sample(self, call: Call) -> Generation:
        known = call.prompts[0] in self._seen  # every call but the first continues what earlier ones made
        hits = await self._counted() if known else 0
        began = time.perf_counter()
        generation = await self.engine.sample(call)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        if known:
            blocks = sum((len(prompt) - 1) // self.block for prompt in call.prompts)
            self.shareable += blocks * self.block * call.n
            reported = (generation.usage.cached_tokens or 0) * call.n
            self.hits += await self._counted() - hits if self.counter else reported
        self._seen |= {
            prompt + sample.tokens
            for prompt, samples in zip(call.prompts, generation.samples, strict=True)
            for sample in samples
        }
        return generation

    async def _counted(self) -> int:
        """vLLM's count of the tokens found in its prefix cache, those of each of `n` samples."""
        if self.counter is None:
            return 0
        async with httpx.AsyncClient() as client:
            lines = (await client.get(f"{self.counter}/metrics")).text.splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.startswith(HITS)))


@dataclass(frozen=True, slots=True)
class Searched:
    """One search."""

    depth: int
    calls: int
    tokens: int
    grown: float
    kept: float
    shareable: int
    hits: int
    choosing: float
    engine_seconds: float


async def search(
    watched: Watched, messages: tuple[Message, ...], name: str, verifier: Verifier, width: int, asked: Any
) -> Searched:
    prompt = await watched.engine.tokenize(messages)
    # A path of its own for every search, so that no other search has warmed the cache for it.
    problem = Problem(messages, prompt, asked.max_tokens, sampling={"temperature": 0.8})
    run = Search(
        watched,  # type: ignore[arg-type]  # it hands on what it does not watch
        problem,
        Ledger(Budget(width)),
        make_answers("number", workers=Workers()),
        verifier=verifier,
    )
    params = {**STRATEGIES[name], "step_tokens": asked.step_tokens, "separator": asked.separator}
    outcome = await build(name, params).run(run)
    kv = outcome.estimates["kv_tokens"]
    return Searched(
        depth=outcome.estimates["depth"],
        calls=watched.calls,
        tokens=sum(event["tokens"] for event in run.trace if event["event"] == "sample"),
        grown=fmean(kv["grown"]),
        kept=fmean([tokens for tokens in kv["kept"] if tokens] or [0]),
        shareable=watched.shareable,
        hits=watched.hits,
        choosing=sum(_choosing(run.trace)),
        engine_seconds=watched.seconds,
    )


def _choosing(trace: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Seconds from each depth's steps to its selection."""
    grown = 0.0
    for event in trace:
        if event["event"] == "steps":
            grown = event["at"]
        elif event["event"] == "select":
            yield event["at"] - grown


async def simulated(asked: Any) -> None:
    print(
        f"\n**The simulated world**, {asked.searches} searches each, process reward, steps of about 24 tokens\n"
    )
    print(HEADINGS)
    world = SimulatedWorld(seed=7)
    for name in STRATEGIES:
        for width in asked.widths:
            found = []
            for index in range(asked.searches):
                watched = Watched(SimulatedEngine(world), block=16)
                messages = ({"role": "user", "content": world.question(index)},)
                found.append(
                    await search(watched, messages, name, SimulatedProcessReward(world), width, asked)
                )
            print(_line(name, width, found))


async def real(asked: Any) -> None:
    async with _vllm(asked) as (engine, url, block):
        print(f"\n**vLLM with {engine.model}**, {len(QUESTIONS)} searches each, guided by self_certainty\n")
        print(HEADINGS)
        for name in STRATEGIES:
            for width in asked.widths:
                found = []
                for place, question in enumerate(QUESTIONS):
                    watched = Watched(SeparateCalls(engine, each="prompt"), block, url)
                    mark = f"({name} {width} {place} {time.time_ns()}) "
                    messages = ({"role": "user", "content": mark + question},)
                    found.append(await search(watched, messages, name, SelfCertainty(), width, asked))
                print(_line(name, width, found), flush=True)


@asynccontextmanager
async def _vllm(asked: Any) -> AsyncGenerator[tuple[Engine, str, int]]:
    """The engine that `--url` names, or one started for this; its address and its KV cache's block size."""
    if asked.url:
        engine = VllmEngine(asked.model, asked.url)
        yield engine, asked.url, asked.block
        await engine.close()
        return
    device = detect_device()
    with TemporaryDirectory() as logs:
        spec = LaunchSpec(
            model_path=str(ROOT / "models" / "smollm2-135m"),
            served_name=asked.model,
            port=free_port(),
            python=ROOT / ".venv-engine/bin/python",
            device=device,
            max_model_len=2048,
        )
        supervisor = Supervisor(spec, log_path=Path(logs) / "vllm.log")
        try:
            await supervisor.start()
            engine = VllmEngine(asked.model, supervisor.url)
            yield engine, supervisor.url, 32 if device == "cpu" else 16
            await engine.close()
        finally:
            await supervisor.stop()


COLUMNS = (
    *("strategy", "N", "depth", "engine calls a depth", "tokens", "KV grown", "KV kept", "hits %"),
    *("hits at depth ≥ 4 %", "engine ms", "choosing ms"),
)
HEADINGS = f"| {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) - 1)}"


def _line(name: str, width: int, found: Sequence[Searched]) -> str:
    cells = [
        f"{fmean(one.depth for one in found):.1f}",
        f"{sum(one.calls for one in found) / sum(one.depth for one in found):.2f}",
        f"{fmean(one.tokens for one in found):,.0f}",
        f"{fmean(one.grown for one in found):,.0f}",
        f"{fmean(one.kept for one in found):,.0f}",
        _hits(found),
        _hits([one for one in found if one.depth >= 4]),
        f"{1e3 * median(one.engine_seconds for one in found):,.1f}",
        f"{1e3 * median(one.choosing for one in found):,.1f}",
    ]
    return f"| {name} | {width} | " + " | ".join(cells) + " |"


def _hits(found: Sequence[Searched]) -> str:
    shareable = sum(one.shareable for one in found)
    return f"{100 * sum(one.hits for one in found) / shareable:.1f}" if shareable else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["simulated", "real"], help="leave the other out")
    parser.add_argument("--widths", type=int, nargs="+", default=(8, 16), metavar="N", help="default 8 16")
    parser.add_argument("--searches", type=int, default=50, help="simulated problems (default 50)")
    parser.add_argument("--step-tokens", type=int, default=64, help="most tokens of a step (default 64)")
    parser.add_argument("--separator", default="\n\n", help="ends a step (default a blank line)")
    parser.add_argument("--max-tokens", type=int, default=384, help="most tokens of a response (default 384)")
    parser.add_argument("--url", help="a running vLLM; without it one is started with the bundled model")
    parser.add_argument("--model", default="smollm2-135m", help="the name it serves")
    parser.add_argument(
        "--block", type=int, default=16, help="its KV cache's block size, of --url (default 16)"
    )
    asked = parser.parse_args()
    for part in (simulated, real):
        if asked.only in (None, part.__name__):
            asyncio.run(part(asked))


if __name__ == "__main__":
    main()
