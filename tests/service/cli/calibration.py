"""What the tests of `aliquot calibrate` share."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

LOG = "data.simulated.default.calibration.jsonl"


def command(data: Path, *more: str, samples: int = 4) -> tuple[str, ...]:
    return "calibrate", "--data", str(data), "--samples", str(samples), "--format", "number", *more


def logged(folder: Path) -> list[dict]:
    """The problems in the log, with their responses."""
    return [json.loads(line) for line in (folder / LOG).read_bytes().splitlines()[1:]]


async def profiles(url: str) -> list[dict]:
    async with httpx.AsyncClient(base_url=url) as client:
        return (await client.get("/v1/profiles")).json()["data"]
