"""The quality benchmark runs and its table is a function of its settings; the findings are in docs/strategies.md."""

import json
import subprocess
import sys
from pathlib import Path

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality.py"


def run(*arguments: str) -> str:
    command = [sys.executable, str(QUALITY), "--problems", "6", "--widths", "4", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_row_is_measured_and_drawn(tmp_path):
    kept, picture = tmp_path / "figures.json", tmp_path / "quality.svg"
    table = run("--json", str(kept), "--plot", str(picture))
    cells = json.loads(kept.read_text())["cells"]
    assert len(cells) == len({cell["label"] for cell in cells}) == table.count(" | 4 | ")
    assert all(0 <= cell["accuracy"] <= 1 and cell["tokens"] > 0 for cell in cells)
    assert "<svg" in picture.read_text()


def test_the_same_settings_give_the_same_table_whatever_the_processes():
    one, two = (run("--only", "particle_filtering", "rebase", "--processes", n) for n in ("1", "2"))
    assert one == two
