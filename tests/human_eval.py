"""HumanEval (Chen et al. 2107.03374, MIT licence): whole where it lies beside the project, else the part kept here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TypedDict

from tests.reference import SHARED


class Task(TypedDict):
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str


def kept() -> list[Task]:
    """The 20 tasks kept in tests/data: every tenth, and those whose tests call helpers of the prompt or import."""
    lines = (Path(__file__).parent / "data" / "human_eval.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def all_tasks() -> list[Task]:
    whole = SHARED / "data" / "HumanEval.jsonl.gz"
    if not whole.exists():
        return kept()
    return [json.loads(line) for line in gzip.decompress(whole.read_bytes()).splitlines()]


def nearly_right(task: Task) -> str:
    """The solution with the value of its last `return` negated."""
    before, _, value = task["canonical_solution"].rpartition("return ")
    return f"{before}return not ({value.rstrip()})\n"
