"""Traces in few words, and pictures read back."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any

from service.drawing import draw, read

Json = dict[str, Any]

SVG = "{http://www.w3.org/2000/svg}"


def node(
    id: int, parent: int = 0, score: float | None = 0.5, finished: bool = False, text: str = "step"
) -> Json:
    return {"node": id, "parent": parent, "tokens": 10, "text": text, "score": score, "finished": finished}


def steps(depth: int, *nodes: Json, kv: int = 100, **more: Any) -> Json:
    return {"event": "steps", "at": 0.1 * depth, "depth": depth, "nodes": nodes, "kv_tokens": kv, **more}


def select(depth: int, *kept: Sequence[int], kv: int = 60, **more: Any) -> Json:
    return {"event": "select", "at": 0.1 * depth, "depth": depth, "kept": kept, "kv_tokens": kv, **more}


def chosen(id: int, answer: str | None = "42", **more: Any) -> Json:
    return {"event": "chosen", "at": 1.5, "node": id, "answer": answer, **more}


SMALL = [
    steps(1, node(1, score=0.25), node(2, score=0.75), kv=120),
    select(1, [2, 3], kv=110),
    steps(2, node(3, 2), node(4, 2, finished=True), node(5, 2, score=None), kv=140),
    select(2, [3, 1], kv=120),
    steps(3, node(6, 3, finished=True, score=0.9), kv=130),
    chosen(6),
]
"""A search over three depths: 1 and 5 are pruned, 4 finishes and is set aside, 6 is the answer."""


def candidate(
    answer: str | None = "42", score: float | None = 0.5, text: str = "It is 42.", votes: int = 1
) -> Json:
    return {
        "text": text,
        "answer": answer,
        "score": score,
        "votes": votes,
        "tokens": 7,
        "finish_reason": "stop",
        "steps": [],
    }


def outcome(*candidates: Json, trace: Sequence[Json] = (), **scaling: Any) -> Json:
    spent = {"samples": 4, "tokens": 2048, "seconds": 1.25, "prompt_tokens": 9, "verifier_tokens": 0}
    about = {"strategy": "best_of_n", "verifier": "prm", "spent": spent, "warnings": []}
    return {"model": "m", "candidates": candidates, "trace": trace, "scaling": about | scaling}


def picture(value: Any) -> ET.Element:
    """The picture of an outcome or trace, which must be XML for this not to raise."""
    return ET.fromstring(draw(read(json.dumps(value).encode())).encode())


def having(drawn: ET.Element, *kinds: str) -> list[ET.Element]:
    """Elements whose class names all of `kinds`."""
    return [e for e in drawn.iter() if set(kinds) <= set(e.get("class", "").split())]


def tooltips(drawn: ET.Element) -> Iterator[str]:
    return (e.text or "" for e in drawn.iter(f"{SVG}title"))


def words(drawn: ET.Element) -> list[str]:
    return [e.text or "" for e in drawn.iter(f"{SVG}text")]
