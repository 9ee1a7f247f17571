"""Published values to agree with: the whole set where it lies beside the project, else the part kept here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def cases(file: str, kind: str) -> list[Any]:
    """The cases of one kind, as parameters named by their ids."""
    whole = SHARED / "reference" / file
    source = whole if whole.exists() else Path(__file__).parent / "data" / file
    found = [case for case in json.loads(source.read_text())["cases"] if case["kind"] == kind]
    return [pytest.param(case["inputs"], case["outputs"], id=case["id"]) for case in found]
