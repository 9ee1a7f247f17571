"""The selection benchmark runs and both methods agree; how quick either is, is not tested."""

import subprocess
import sys
from pathlib import Path

SELECTION = Path(__file__).parents[2] / "benchmarks" / "selection.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SELECTION), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_ours_and_the_papers_formulation_find_the_same_value():
    done = run("--leaves", "4", "--trees", "2")
    assert done.returncode == 0, done.stderr
    assert "| 4 |" in done.stdout.replace("  ", " ").replace("  ", " ")


def test_sizes_that_measure_nothing_are_refused():
    assert run("--leaves", "0").returncode == 2
