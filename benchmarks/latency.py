"""Seconds that the roofline predicts against those that a real vLLM takes, before and after its two factors are fitted.

    .venv/bin/python benchmarks/latency.py                  # starts a vLLM with the bundled model: about ten minutes
    .venv/bin/python benchmarks/latency.py --url http://127.0.0.1:8100 --model smollm2-135m --hardware h100-sxm

Calls of 16 to 1,000 prompt tokens, 1 to 32 samples and 8 to 128 tokens each go to the engine one at a time, as they
would from the service. A quarter of the prompts lie in the prefix cache already; the others no engine has seen. The
factors learn from the first half, call by call. The other half is predicted twice: with what the factors were then,
and with factors that go on learning, as those of the service do. Other work on the machine makes calls slower by as
much as it is: let nothing else run, or give `--tries 3`, which makes each call three times and keeps the shortest time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from budgets.hardware import HARDWARE, find_hardware
from budgets.latency import Factors, decode_seconds, prefill_seconds
from budgets.models import ModelShape
from budgets.workload import Workload
from engines.base import Call, Engine, EngineGarbage
from engines.devices import detect_device
from engines.launch import LaunchSpec, Supervisor, free_port
from engines.vllm import VllmEngine

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "models" / "smollm2-135m"
PROMPTS, SAMPLES, OUTPUTS = (16, 1000), (1, 32), (8, 128)
CACHED = 0.25
"""Share of the calls whose prompt the engine has read before."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call to make. `cached`: its prompt has been read before."""

    prompt_tokens: int
    samples: int
    output_tokens: int
    cached: bool = False

    def workload(self, block: int) -> Workload:
        """As the cost law takes it: of a prompt read before, all blocks are cached but that of its last token."""
        cached = (self.prompt_tokens - 1) // block * block if self.cached else 0
        return Workload(self.prompt_tokens, self.output_tokens, self.samples, cached_tokens=cached)


@dataclass(frozen=True, slots=True)
class Timed:
    """A call that was made: what the roofline says of its two parts, and what it took. All in seconds."""

    drawn: Drawn
    prefill: float
    decode: float
    measured: float

    def predicted(self, factors: Factors) -> float:
        return factors.prefill * self.prefill + factors.decode * self.decode

    def learned(self, factors: Factors) -> Factors:
        """The factors after this call."""
        return factors.observed(self.prefill, self.decode, self.measured)

    def error(self, factors: Factors) -> float:
        """Of the prediction, relative to what was measured."""
        return self.predicted(factors) / self.measured - 1


def draw(count: int, seed: int) -> list[Drawn]:
    """Calls of all sizes in random order; every size is as likely as its double."""
    rng = random.Random(seed)
    calls = []
    for _ in range(count):
        prompt, samples, output = (_log_uniform(rng, bounds) for bounds in (PROMPTS, SAMPLES, OUTPUTS))
        calls.append(Drawn(prompt, samples, output, rng.random() < CACHED))
    return calls


def _log_uniform(rng: random.Random, bounds: tuple[int, int]) -> int:
    return round(math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]))))


async def measure(engine: Engine, drawn: Drawn, vocabulary: int) -> float:
    """Seconds of one call. Its prompt is random tokens, new each time; one that is to be cached is read once before.

    Raises EngineGarbage where the engine did not generate what it was asked for.
    """
    # The lowest ids are control tokens.
    prompt = tuple(random.randrange(vocabulary // 10, vocabulary) for _ in range(drawn.prompt_tokens))
    sampling = {"temperature": 0.8, "ignore_eos": True}
    if drawn.cached:
        await engine.sample(Call((prompt,), 1, 1, sampling=sampling))
    began = time.perf_counter()
    generation = await engine.sample(Call((prompt,), drawn.samples, drawn.output_tokens, sampling=sampling))
    took = time.perf_counter() - began
    lengths = {len(sample.tokens) for sample in generation.samples[0]}
    if len(generation.samples[0]) != drawn.samples or lengths != {drawn.output_tokens}:
        raise EngineGarbage(f"The engine was asked for {drawn}, and generated another number of tokens.")
    return took


def fit(calls: Sequence[Timed]) -> Factors:
    """What the factors are after these calls, learned one by one."""
    factors = Factors()
    for call in calls:
        factors = call.learned(factors)
    return factors


def median_error(calls: Sequence[Timed], factors: Sequence[Factors]) -> float:
    """The median of the absolute relative errors, of each call with its factors."""
    return median(abs(call.error(one)) for call, one in zip(calls, factors, strict=True))


def learning_on(calls: Sequence[Timed], factors: Factors) -> list[Factors]:
    """The factors that each call is predicted with where every call before it was learned from."""
    known = [factors]
    for call in calls:
        known.append(call.learned(known[-1]))
    return known[:-1]


def table(calls: Sequence[Timed], factors: Factors) -> Iterator[str]:
    """A line a call, in the order of what was measured."""
    yield "| prompt | samples | tokens each | predicted s | measured s | error % |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for call in sorted(calls, key=lambda call: call.measured):
        drawn = call.drawn
        prompt = f"{drawn.prompt_tokens:,}{' cached' if drawn.cached else ''}"
        yield (
            f"| {prompt} | {drawn.samples} | {drawn.output_tokens} | {call.predicted(factors):.2f}"
            f" | {call.measured:.2f} | {100 * call.error(factors):+.0f} |"
        )


def summary(calls: Sequence[Timed], factors: Factors) -> Iterator[str]:
    """Medians of the absolute errors, before the fit, after it, and where learning goes on; of all and by kind."""
    kinds: dict[str, Callable[[Timed], bool]] = {
        "all": lambda call: True,
        "a new prompt": lambda call: not call.drawn.cached,
        "a cached prompt": lambda call: call.drawn.cached,
        "1 to 4 samples": lambda call: call.drawn.samples <= 4,
        "over 4 samples": lambda call: call.drawn.samples > 4,
    }
    stages = [[Factors()] * len(calls), [factors] * len(calls), learning_on(calls, factors)]
    yield "| calls | how many | before the fit % | after the fit % | learning on % |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for kind, belongs in kinds.items():
        places = [place for place, call in enumerate(calls) if belongs(call)]
        those = [calls[place] for place in places]
        medians = [
            f"{100 * median_error(those, [known[place] for place in places]):.1f}" if places else "–"
            for known in stages
        ]
        yield f"| {kind} | {len(those)} | {' | '.join(medians)} |"


@asynccontextmanager
async def _vllm(asked: Any) -> AsyncGenerator[Engine]:
    """The engine that `--url` names, or one started for this."""
    if asked.url:
        engine = VllmEngine(asked.model, asked.url)
        try:
            yield engine
        finally:
            await engine.close()
        return
    device = detect_device()
    with TemporaryDirectory() as logs:
        spec = LaunchSpec(
            model_path=str(asked.path),
            served_name=asked.model,
            port=free_port(),
            python=ROOT / ".venv-engine/bin/python",
            device=device,
            max_model_len=2048,
        )
        supervisor = Supervisor(spec, log_path=Path(logs) / "vllm.log")
        engine = VllmEngine(asked.model, supervisor.url)
        try:
            await supervisor.start()
            yield engine
        finally:
            await engine.close()
            await supervisor.stop()


async def run(asked: Any) -> None:
    config = json.loads((asked.path / "config.json").read_text())
    loads = [os.getloadavg()[0]]
    hardware = find_hardware(asked.hardware)  # before the engine runs: a CPU is measured
    shape = ModelShape.from_config(config, weight_bytes=asked.bytes, kv_bytes=asked.bytes)
    timed: list[Timed] = []
    async with _vllm(asked) as engine:
        for drawn in draw(2 * asked.calls, asked.seed):
            tries = [await measure(engine, drawn, config["vocab_size"]) for _ in range(asked.tries)]
            workload = drawn.workload(hardware.block_tokens)
            roofline = prefill_seconds(shape, hardware, workload), decode_seconds(shape, hardware, workload)
            timed.append(Timed(drawn, *roofline, min(tries)))
            loads.append(os.getloadavg()[0])
            parts = f"{roofline[0]:.3f} + {roofline[1]:.3f} s by the roofline, {min(tries):.3f} measured"
            print(f"{len(timed)} of {2 * asked.calls}: {drawn}, {parts}", file=sys.stderr)
    learned, rest = timed[: asked.calls], timed[asked.calls :]
    factors = fit(learned)
    print(
        f"{hardware.name}: {hardware.flops / 1e9:,.0f} GFLOP/s, {hardware.bytes_per_second / 1e9:,.1f} GB/s;"
        f" load average {loads[0]:.1f} before, {max(loads):.1f} at most\n"
        f"factors after {factors.calls} calls: prefill {factors.prefill:.2f}, decode {factors.decode:.2f}\n"
    )
    print(*summary(rest, factors), "", *table(rest, factors), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--calls", type=int, default=40, help="to learn from, and as many to predict (default 40)"
    )
    parser.add_argument(
        "--tries", type=int, default=1, help="times a call is made; the shortest counts (default 1)"
    )
    parser.add_argument("--seed", type=int, default=4, help="of the drawing of calls (default 4)")
    parser.add_argument("--url", help="a running vLLM; without it one is started")
    parser.add_argument("--model", default="smollm2-135m", help="the name it serves")
    parser.add_argument(
        "--path", type=Path, default=BUNDLED, help="the model's folder (default the bundled one)"
    )
    parser.add_argument("--hardware", default="cpu", help="what it runs on (default cpu, which is measured)")
    parser.add_argument("--bytes", type=float, default=4, help="of a weight and a KV element (default 4)")
    asked = parser.parse_args()
    if min(asked.calls, asked.tries) < 1:
        parser.error("--calls and --tries must be at least 1")
    if asked.hardware != "cpu" and asked.hardware not in HARDWARE:
        parser.error(f"--hardware must be one of {', '.join(sorted((*HARDWARE, 'cpu')))}")
    asyncio.run(run(asked))


if __name__ == "__main__":
    main()
