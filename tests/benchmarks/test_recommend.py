"""The recommender's benchmark runs and prints its table; how quick it is, is not tested."""

import subprocess
import sys
from pathlib import Path

RECOMMEND = Path(__file__).parents[2] / "benchmarks" / "recommend.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECOMMEND), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_it_prints_a_row_for_each_number_of_models():
    done = run("--requests", "2", "--models", "1", "--most-samples", "8")
    assert done.returncode == 0, done.stderr
    header, _, row = done.stdout.splitlines()[-3:]
    assert len(row.split("|")) == len(header.split("|"))
    assert row.startswith("| 1 | ")


def test_requests_that_measure_nothing_are_refused():
    assert run("--requests", "1").returncode == 2
    assert run("--models", "0").returncode == 2
