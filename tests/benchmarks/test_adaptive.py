"""benchmarks/adaptive.py runs in a small size, and hands samples out as told; what it finds is in its own output."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def adaptive(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import adaptive

    return adaptive


def run(*arguments):
    command = [sys.executable, str(BENCHMARKS / "adaptive.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_small_run_reports_every_world_and_the_mean():
    done = run("--worlds", "1", "--problems", "6", "--calibration", "30", "--processes", "1")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows] == ["world", "---:", "0", "all"]
    assert "Over all 6 problems auto is" in done.stdout


def test_numbers_that_measure_nothing_are_refused():
    assert run("--problems", "0").returncode == 2


def test_evidence_keeps_the_order_of_answers_and_their_scores(adaptive):
    found, seen = adaptive.evidence([3, -1, 0, 3], [0.1, 0.2, 0.3, 0.4])
    assert (found.votes, found.scores, found.silent, seen) == ((2, 1), ((0.1, 0.4), (0.3,)), 1, [3, 0])


def test_a_problem_is_played_to_the_end_within_its_samples(adaptive):
    size = adaptive.Size(problems=3, calibration=30)
    one = adaptive.replay(5, size, 1e-4)
    assert (one.samples <= adaptive.MOST).all()
    assert (one.tokens <= one.all_tokens).all()
    assert one.share() == one.tokens.sum() / one.all_tokens.sum()
    # with nothing too small to be worth it, more is drawn than where much is asked of a sample
    assert adaptive.replay(5, size, 0.5).samples.sum() < one.samples.sum()
