"""The parts of the latency benchmark: what it draws, fits and prints. Real vLLM is for whoever runs it."""

import asyncio
import importlib
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from budgets.hardware import Hardware
from budgets.latency import Factors, decode_seconds, prefill_seconds
from budgets.models import ModelShape
from engines.base import EngineGarbage, Generation, Sample, Usage

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "latency.py"
LLAMA = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
SHAPE = ModelShape.from_config(LLAMA, weight_bytes=4, kv_bytes=4)
MACHINE = Hardware("machine", 2e11, 2e10, 24e9, overlaps=False, block_tokens=32)


@pytest.fixture(scope="module")
def latency():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module("latency")


def timed(latency, count, seed, noise):
    """Calls of an engine with factors of 2 and 3, whose times are off by a lognormal noise."""
    rng = random.Random(seed)
    for drawn in latency.draw(count, seed):
        workload = drawn.workload(MACHINE.block_tokens)
        prefill, decode = (part(SHAPE, MACHINE, workload) for part in (prefill_seconds, decode_seconds))
        yield latency.Timed(
            drawn, prefill, decode, (2 * prefill + 3 * decode) * math.exp(rng.gauss(0, noise))
        )


def test_the_same_seed_draws_the_same_varied_calls(latency):
    drawn = latency.draw(400, seed=1)
    assert drawn == latency.draw(400, seed=1) != latency.draw(400, seed=2)
    for name, (least, most) in {
        "prompt_tokens": latency.PROMPTS,
        "samples": latency.SAMPLES,
        "output_tokens": latency.OUTPUTS,
    }.items():
        found = [getattr(call, name) for call in drawn]
        assert least <= min(found) < 1.2 * least
        assert 0.8 * most < max(found) <= most
        assert sum(size < math.sqrt(least * most) for size in found) == pytest.approx(200, abs=40)
    assert sum(call.cached for call in drawn) == pytest.approx(100, abs=30)


@pytest.mark.parametrize(("prompt", "cached"), [(16, 0), (32, 0), (33, 32), (64, 32), (1000, 992)])
def test_of_a_prompt_read_before_the_block_of_its_last_token_is_read_again(latency, prompt, cached):
    assert latency.Drawn(prompt, 4, 8, cached=True).workload(32).cached_tokens == cached
    assert latency.Drawn(prompt, 4, 8).workload(32).cached_tokens == 0


@pytest.mark.parametrize("seed", range(5))
def test_forty_noisy_calls_are_enough_to_predict_the_next_within_a_fifth(latency, seed):
    calls = list(timed(latency, 80, seed, noise=0.15))
    factors = latency.fit(calls[:40])
    assert latency.median_error(calls[40:], [Factors()] * 40) > 0.5
    assert latency.median_error(calls[40:], [factors] * 40) < 0.2


def test_learning_on_follows_a_machine_that_becomes_slower(latency):
    calls = list(timed(latency, 120, 1, noise=0.1))
    factors = latency.fit(calls[:40])
    slower = [replace(call, measured=2.5 * call.measured) for call in calls[40:]]
    known = latency.learning_on(slower, factors)
    assert known[0] == factors
    assert latency.median_error(slower, [factors] * 80) > 0.4
    assert latency.median_error(slower, known) < 0.2


def test_the_tables_have_every_call_and_the_medians_of_each_kind(latency):
    calls = [
        latency.Timed(latency.Drawn(1000, 8, 16, cached=True), 1.0, 2.0, 10.0),
        latency.Timed(latency.Drawn(20, 1, 8), 0.5, 0.5, 2.0),
    ]
    factors = Factors(prefill=2.0, decode=3.0)
    assert list(latency.table(calls, factors))[2:] == [
        "| 20 | 1 | 8 | 2.50 | 2.00 | +25 |",
        "| 1,000 cached | 8 | 16 | 8.00 | 10.00 | -20 |",
    ]
    rows = list(latency.summary(calls, factors))
    assert [row.rpartition(" |")[0].rpartition(" | ")[0] for row in rows[2:]] == [
        "| all | 2 | 60.0 | 22.5",
        "| a new prompt | 1 | 50.0 | 25.0",
        "| a cached prompt | 1 | 70.0 | 20.0",
        "| 1 to 4 samples | 1 | 50.0 | 25.0",
        "| over 4 samples | 1 | 70.0 | 20.0",
    ]


def test_a_kind_that_was_not_drawn_has_no_medians(latency):
    calls = [latency.Timed(latency.Drawn(20, 1, 8), 0.5, 0.5, 2.0)]
    assert "| a cached prompt | 0 | – | – | – |" in list(latency.summary(calls, Factors()))


class Echo:
    """An engine that generates `tokens` for each of n samples, and keeps what it was asked."""

    def __init__(self, tokens):
        self.tokens, self.calls = tokens, []

    async def sample(self, call):
        self.calls.append(call)
        return Generation(((Sample("", (7,) * self.tokens, "length"),) * call.n,), Usage())


def test_a_cached_prompt_is_read_once_before_and_every_try_has_a_new_one(latency):
    engine = Echo(8)
    for cached in (False, False, True):
        assert asyncio.run(latency.measure(engine, latency.Drawn(40, 3, 8, cached), 1000)) > 0
    first, second, warming, warmed = (call.prompts[0] for call in engine.calls)
    assert len({first, second, warming}) == 3
    assert warming == warmed
    assert {len(prompt) for prompt in (first, second, warming)} == {40}
    assert [(call.n, call.max_tokens) for call in engine.calls] == [(3, 8), (3, 8), (1, 1), (3, 8)]


def test_an_engine_that_stops_early_is_no_measurement(latency):
    with pytest.raises(EngineGarbage, match="another number of tokens"):
        asyncio.run(latency.measure(Echo(5), latency.Drawn(40, 3, 8), 1000))


def test_a_benchmark_of_no_calls_is_refused():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--calls", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--calls" in done.stderr
