"""The overhead benchmark runs, checks answers and counts engine calls; how quick anything is, is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OVERHEAD = Path(__file__).parents[2] / "benchmarks" / "overhead.py"
BRIEF = [
    "--widths",
    "2",
    "--delays",
    "0.01",
    "--seconds",
    "0.1",
    "--warm-up",
    "0.05",
    "--rounds",
    "1",
    "--no-pin",
]


def test_a_pass_through_is_measured_with_one_engine_call_a_request(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [sys.executable, str(OVERHEAD), *BRIEF, "--only", "asgi-aiohttp", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "| ASGI + aiohttp, bare |" in done.stdout
    [cell] = json.loads(kept.read_text())["cells"]
    assert (cell["width"], cell["delay"]) == (2, 0.01)
    assert cell["median"]["generating_calls"] == 1.0
    assert cell["median"]["p50_ms"] >= 10.0
    assert cell["median"]["requests"] > 0


def test_settings_that_measure_nothing_are_refused() -> None:
    command = [sys.executable, str(OVERHEAD), "--rounds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--rounds: 0 is not from 1 to 1000" in done.stderr
