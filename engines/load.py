"""How busy a vLLM server is, as its /metrics say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

GAUGE: Final = re.compile(
    rb"\nvllm:(num_requests_(?:running|waiting)|(?:kv|gpu)_cache_usage_perc)(?:\{.*\})? (\S+)"
)
"""A gauge's line. The KV cache's was `gpu_cache_usage_perc` until vLLM 0.10."""


@dataclass(frozen=True, slots=True)
class Load:
    """Sequences that run and that wait for their turn, and the share of the KV cache that running ones take, 0 to 1."""

    running: float
    waiting: float
    kv_usage: float


def read_load(metrics: bytes) -> Load | None:
    """The load that a /metrics page tells; None where it does not. Of data-parallel engines the sum, and mean usage."""
    found: dict[bytes, list[float]] = {}
    for gauge in GAUGE.finditer(b"\n" + metrics):
        name, value = gauge.groups()
        try:
            found.setdefault(name.rpartition(b"_")[2], []).append(float(value))
        except ValueError:
            return None
    running, waiting, usage = (found.get(name) for name in (b"running", b"waiting", b"perc"))
    if not running or not waiting or not usage:
        return None
    load = Load(sum(running), sum(waiting), sum(usage) / len(usage))
    # Written so that NaN is refused too.
    return load if load.running >= 0 and load.waiting >= 0 and 0 <= load.kv_usage <= 1 else None


def together(loads: Iterable[Load]) -> Load | None:
    """What each of several servers has on average; None of none."""
    known = list(loads)
    if not known:
        return None
    running, waiting, usage = (
        sum(each) / len(known)
        for each in zip(*((one.running, one.waiting, one.kv_usage) for one in known), strict=True)
    )
    return Load(running, waiting, usage)
