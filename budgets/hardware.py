"""What accelerators can do: peak FLOP/s, bytes/s and memory. Prices are configuration."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from budgets.checks import check_number


@dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator, or several that work as one.

    `flops`: peak dense BF16 FLOP/s (no sparsity), of a CPU float32; `bytes_per_second` of its memory; `memory_bytes`.
    `fp8_flops` where the vendor gives one. `overlaps`: whether it computes and reads at the same time. `block_tokens`:
    positions in a block of the engine's KV cache, the unit in which prompts are shared. Raises ValueError for a number
    that is not positive, naming the field.
    """

    name: str
    flops: float
    bytes_per_second: float
    memory_bytes: float
    fp8_flops: float | None = None
    overlaps: bool = True
    block_tokens: int = 16  # vLLM's default on GPUs

    def __post_init__(self) -> None:
        for field in ("flops", "bytes_per_second", "memory_bytes"):
            check_number(field, getattr(self, field), above=True)
        if self.fp8_flops is not None:
            check_number("fp8_flops", self.fp8_flops, above=True)
        check_number("block_tokens", self.block_tokens, least=1, whole=True)

    @property
    def arithmetic_intensity(self) -> float:
        """FLOP that can be done while one byte is read: what the cost law weighs memory traffic with."""
        return self.flops / self.bytes_per_second

    def flops_at(self, weight_bytes: float) -> float:
        """Peak FLOP/s for weights of so many bytes each: the FP8 rate from one byte down, where there is one.

        Weights under a byte are widened to compute with; what they save is memory traffic.
        """
        return self.fp8_flops if self.fp8_flops is not None and weight_bytes <= 1 else self.flops

    def times(self, accelerators: int) -> Hardware:
        """So many of them as one, by tensor parallelism; what they tell each other costs nothing here."""
        check_number("accelerators", accelerators, least=1, most=1e6, whole=True)
        return replace(
            self,
            flops=self.flops * accelerators,
            bytes_per_second=self.bytes_per_second * accelerators,
            memory_bytes=self.memory_bytes * accelerators,
            fp8_flops=None if self.fp8_flops is None else self.fp8_flops * accelerators,
        )


# Dense rates: where a vendor's sheet gives them with sparsity alone, half of that. 1 TB = 1e12 bytes.
_KNOWN = (
    # NVIDIA A100 80GB SXM data sheet: 312 TFLOPS BF16, 2,039 GB/s, 80 GB; no FP8.
    Hardware("a100-sxm", 312e12, 2.039e12, 80e9),
    # NVIDIA H100 data sheet, SXM: 1,979 TFLOPS BF16 and 3,958 FP8 with sparsity, 3.35 TB/s, 80 GB.
    Hardware("h100-sxm", 989.5e12, 3.35e12, 80e9, 1979e12),
    # NVIDIA H100 data sheet, PCIe: 1,513 TFLOPS BF16 and 3,026 FP8 with sparsity, 2 TB/s, 80 GB.
    Hardware("h100-pcie", 756.5e12, 2e12, 80e9, 1513e12),
    # NVIDIA H200 data sheet, SXM: 1,979 TFLOPS BF16 and 3,958 FP8 with sparsity, 4.8 TB/s, 141 GB.
    Hardware("h200", 989.5e12, 4.8e12, 141e9, 1979e12),
    # NVIDIA DGX B200 data sheet, an eighth: 4.5 PFLOPS BF16 and 9 FP8 with sparsity, 64 TB/s and 1,440 GB in all.
    Hardware("b200", 2.25e15, 8e12, 180e9, 4.5e15),
    # NVIDIA L40S data sheet: 362.05 TFLOPS BF16 and 733 FP8 dense, 864 GB/s, 48 GB.
    Hardware("l40s", 362.05e12, 864e9, 48e9, 733e12),
    # NVIDIA L4 data sheet: 242 TFLOPS BF16 and 485 FP8 with sparsity, 300 GB/s, 24 GB.
    Hardware("l4", 121e12, 300e9, 24e9, 242.5e12),
    # AMD Instinct MI300X data sheet: 1,307.4 TFLOPS BF16 and 2,614.9 FP8 dense, 5.3 TB/s, 192 GB.
    Hardware("mi300x", 1307.4e12, 5.3e12, 192e9, 2614.9e12),
    # Google Cloud TPU v5e page, a chip: 197 TFLOPS BF16, 819 GB/s, 16 GB; INT8 but no FP8.
    Hardware("tpu-v5e", 197e12, 819e9, 16e9),
)

HARDWARE: Mapping[str, Hardware] = {one.name: one for one in _KNOWN}
"""By name. `cpu` is found by `find_hardware`, which measures it."""


def find_hardware(name: str) -> Hardware:
    """The accelerator of that name; `cpu` is this machine, measured once a process, which blocks for a moment.

    Raises ValueError, with the names that exist.
    """
    if name == "cpu":
        return measure_cpu()
    if name not in HARDWARE:
        known = ", ".join(sorted((*HARDWARE, "cpu")))
        raise ValueError(f"hardware {name[:60]!r} is not known: name one of {known}, or give its numbers")
    return HARDWARE[name]


@cache
def measure_cpu() -> Hardware:
    """This machine as numpy sees it: float32 FLOP/s of matrix products, bytes/s of a copy, memory.

    Blocks for under 0.3 s. The products are measured on one core and counted for all cores that this process may use;
    the copy is one core's. What an engine makes of them is for the factors of `latency.py` to learn. Each rate is the
    best of several tries by one thread, so that a busy machine lowers it little: a product by several threads is 20
    times as slow where an engine spins on the same cores. A core that waits for memory does not compute; blocks are
    the smallest that vLLM has on a CPU.
    """
    import numpy as np

    # 64³ multiplications: as much as OpenBLAS leaves to one thread.
    count, size = 64, 64
    left, right = np.full((2, count, size, size), 0.5, dtype=np.float32)
    product = np.empty_like(left)
    seconds = _best_seconds(lambda: np.matmul(left, right, out=product))
    # 32 MiB: more than the caches of a core, so that memory is what is measured.
    source = np.ones(8 << 20, dtype=np.float32)
    target = np.empty_like(source)
    copy_seconds = _best_seconds(lambda: np.copyto(target, source))
    return Hardware(
        "cpu",
        flops=len(os.sched_getaffinity(0)) * 2 * count * size**3 / seconds,
        bytes_per_second=2 * source.nbytes / copy_seconds,
        memory_bytes=float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        overlaps=False,
        block_tokens=32,
    )


def _best_seconds(work: Callable[[], object], seconds: float = 0.08) -> float:
    """The shortest of the tries that fit into `seconds`, of two at least."""
    work()
    began = time.perf_counter()
    tries: list[float] = []
    while len(tries) < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        tries.append(time.perf_counter() - start)
    return min(tries)
