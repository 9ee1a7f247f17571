"""The search benchmark runs on the simulated world: one engine call a depth. Real vLLM is for whoever runs it."""

import subprocess
import sys
from pathlib import Path

SEARCH = Path(__file__).parents[2] / "benchmarks" / "search.py"


def test_every_search_makes_one_engine_call_a_depth():
    command = [sys.executable, str(SEARCH), "--only", "simulated", "--searches", "2", "--widths", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = [
        line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ") and " | 4 | " in line
    ]
    assert len(rows) == 5
    assert {row[3] for row in rows} == {"1.00"}
