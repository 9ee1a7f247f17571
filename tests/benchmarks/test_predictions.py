"""The parts of benchmarks/predictions.py: its samples are the engine's, its rules the strategies', its tables as told.

What it finds on its worlds is in its own output; here it runs in a small size.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from budgets.budget import Budget
from budgets.ledger import Ledger
from budgets.prediction import Options
from engines.base import Call
from engines.simulated.engine import SimulatedEngine
from engines.simulated.world import SimulatedWorld
from strategies.base import Problem
from strategies.registry import build
from strategies.search import Search
from verifiers.answers import make_answers
from verifiers.simulated_reward import SimulatedOutcomeReward
from verifiers.workers import Workers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROBLEMS, SAMPLES = 40, 12


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import selection_rules
    import simulated_tasks

    return simulated_tasks, selection_rules


def run(*arguments):
    command = [sys.executable, str(BENCHMARKS / "predictions.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class InWaves(SimulatedEngine):
    """Goes on with the same samples from call to call, as one call for all of them would have brought them."""

    drawn = 0

    async def draw(self, call):
        self.drawn += call.n
        samples, usage = await super().draw(
            Call(call.prompts, self.drawn, call.max_tokens, sampling=call.sampling)
        )
        return tuple(some[self.drawn - call.n :] for some in samples), usage


async def test_samples_are_those_of_the_simulated_engine_and_its_reward(parts):
    tasks, _ = parts
    world = tasks.draw_world(5)
    found = tasks.draw(world, 3, 8, start=40)
    simulated = SimulatedWorld(world.settings, world.seed)
    engine = SimulatedEngine(simulated)
    for row, index in enumerate(range(40, 43)):
        prompt = await engine.tokenize([{"role": "user", "content": simulated.question(index)}])
        (samples,) = (await engine.sample(Call((prompt,), 8, 10_000, sampling={"seed": index}))).samples
        problem = simulated.problem(index)
        assert [len(one.tokens) for one in samples] == found.tokens[row].tolist()
        assert [simulated.outcome_score(problem, one.text) for one in samples] == found.score[row].tolist()
        stated = [problem.answers[place] for place in found.answer[row]]
        assert all(one.text.endswith(f" {number}.") for one, number in zip(samples, stated, strict=True))
    assert (found.right == (found.answer == 0)).all()


def test_worlds_differ_and_draws_are_functions_of_their_arguments(parts, tmp_path):
    tasks, _ = parts
    assert len({tasks.draw_world(seed).settings for seed in range(50)}) == 50
    world = tasks.draw_world(1)
    first, kept, again = (tasks.draw(world, 4, 3, folder=folder) for folder in (None, tmp_path, tmp_path))
    assert (first.score == kept.score).all()
    assert (kept.score == again.score).all()
    assert (tasks.draw(world, 4, 3, start=4).score != first.score).all()
    assert (tasks.draw(world, 2, 3).tokens == first[:2].tokens).all()


def test_a_cap_takes_answers_away(parts):
    tasks, _ = parts
    whole = tasks.draw(tasks.draw_world(2), 50, 4)
    cut = whole.capped(int(whole.tokens.mean()))
    assert 0 < (cut.answer < 0).sum() < cut.answer.size
    assert not cut.right[cut.answer < 0].any()
    assert cut.tokens.max() <= whole.tokens.mean()


@pytest.mark.parametrize(
    ("strategy", "params"),
    [
        ("majority", {}),
        ("best_of_n", {}),
        ("best_of_n", {"select": "weighted"}),
        ("best_of_majority", {"alpha": 0.25}),
        ("repeated_sampling", {"accept_at": 0.7}),
    ],
)
async def test_rules_on_arrays_choose_what_the_strategies_choose(parts, strategy, params):
    tasks, rules = parts
    world = tasks.draw_world(2)
    samples = tasks.draw(world, PROBLEMS, SAMPLES)
    expected = rules.solved(strategy, samples, SAMPLES, Options(**params))
    simulated = SimulatedWorld(world.settings, world.seed)
    right = [await solves(simulated, index, strategy, params) for index in range(PROBLEMS)]
    assert right == expected.tolist()
    assert 0 < sum(right) < PROBLEMS


async def solves(simulated, index, strategy, params):
    step = (
        1e-9 if strategy == "repeated_sampling" else 0.0
    )  # then samples end token by token, the shortest first
    engine = InWaves(simulated, seconds_per_step=step)
    messages = ({"role": "user", "content": simulated.question(index)},)
    prompt = await engine.tokenize(messages)
    search = Search(
        engine,
        Problem(messages, prompt, max_tokens=4096, sampling={"seed": index}),
        Ledger(Budget(SAMPLES)),
        make_answers("number", workers=Workers()),
        verifier=SimulatedOutcomeReward(simulated),
    )
    outcome = await build(strategy, params).run(search)
    return outcome.candidates[0].answer == str(simulated.problem(index).answer)


def test_repeated_sampling_spends_up_to_what_it_accepts(parts):
    tasks, rules = parts
    samples = tasks.draw(tasks.draw_world(2), 50, 7)
    first = samples.score[:, 0] >= 0.5
    tokens = rules.spent("repeated_sampling", samples, 7)
    assert (tokens[first] == samples.tokens[first, 0]).all()
    assert (tokens[~first] > samples.tokens[~first, 0]).all()
    assert (tokens <= rules.spent("majority", samples, 7)).all()
    never = rules.spent("repeated_sampling", samples, 7, Options(accept_at=2.0))
    assert (never == samples.tokens.sum(axis=1)).all()


def test_the_benchmark_prints_its_tables_and_keeps_every_figure(tmp_path):
    kept = tmp_path / "figures.json"
    size = {"--worlds": 2, "--problems": 60, "--calibration": 40, "--calibrations": 1, "--auto": 2}
    small = [str(part) for pair in size.items() for part in pair] + ["--json", str(kept)]
    done = run(*small, "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert "Mean absolute error" in done.stdout
    assert "best in hindsight" in done.stdout
    assert "auto's tokens" in done.stdout
    found = json.loads(kept.read_text())
    assert len(found["cells"]) == 2 * 5 * 7
    assert {one["label"] for one in found["cells"]} >= {"majority", "best_of_n weighted", "best_of_majority"}
    assert all(0 <= one["low"] <= one["predicted"] <= one["high"] <= 1 for one in found["cells"])
    assert all(one["best"] >= one["reached"] - 0.3 for one in found["plans"])


def test_sizes_that_measure_nothing_are_refused():
    done = run("--worlds", "0")
    assert done.returncode == 2
    assert "0 is not 1 or more" in done.stderr
