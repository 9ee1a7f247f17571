"""What generating costs, in FLOP and in memory traffic weighed as FLOP: the Kinetics cost law (2506.05333).

A byte read counts as `intensity` FLOP, the FLOP that the hardware could have done meanwhile, so that both add up to one
number, eFLOPs. The terms:

| term | what |
| --- | --- |
| `prefill_linear` | 2 · active parameters · prompt tokens that are not cached (the output head once a sample) |
| `prefill_attention` | every prompt token attends to itself and those before it |
| `linear` | 2 · active parameters a decode step and sequence |
| `attention` | 4 · heads · head_dim · layers, a position attended to |
| `block_search` | queries against one key a block, where block-top-k has to choose |
| `weight_reads` | the weights, once a pass, shared out among the requests that run at once |
| `kv_reads` | KV of the positions attended to: the prompt's once for all samples where it is shared |
| `block_search_reads` | one key a block |
| `verifier_compute`, `verifier_memory` | all of the above, of a verifier that is a model |

Left out: activations, writing KV, reading it during prefill, and what accelerators tell each other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from budgets.checks import check_number
from budgets.models import ModelShape
from budgets.workload import Attention, BlockTopK, Dense, Depth, Run, TopK, Workload

COMPUTE_TERMS = (
    "prefill_linear",
    "prefill_attention",
    "linear",
    "attention",
    "block_search",
    "verifier_compute",
)
MEMORY_TERMS = ("weight_reads", "kv_reads", "block_search_reads", "verifier_memory")
TERMS = COMPUTE_TERMS + MEMORY_TERMS
PUBLISHED_TERMS = ("linear", "attention", "block_search", "kv_reads", "block_search_reads")


@dataclass(frozen=True, slots=True)
class Cost:
    """eFLOPs by term, in FLOP (not TFLOP); of `TERMS`, those that were asked for."""

    terms: Mapping[str, float]

    @property
    def compute(self) -> float:
        return math.fsum(self.terms.get(name, 0.0) for name in COMPUTE_TERMS)

    @property
    def memory(self) -> float:
        return math.fsum(self.terms.get(name, 0.0) for name in MEMORY_TERMS)

    @property
    def total(self) -> float:
        return self.compute + self.memory

    @property
    def dominant_term(self) -> str:
        """The largest; of equal ones the first in `TERMS`."""
        return max(self.terms, key=lambda name: self.terms[name])


def cost(
    shape: ModelShape,
    workload: Workload,
    intensity: float,
    *,
    published: bool = False,
    terms: Collection[str] = TERMS,
) -> Cost:
    """What one request costs on hardware of that arithmetic intensity (FLOP per byte).

    The default is the exact count, decode step by decode step. Sparse attention that shares the prompt reads at most
    what the samples select and at most what there is, so that a budget that covers everything costs what dense
    attention does; block-top-k searches only in steps that have more positions than it may keep.

    `published` reproduces the arithmetic of the paper's code (`cost_model/utils.py` of Infini-AI-Lab/Kinetics) and
    its terms alone. Where it differs from the exact count:
    1. top-k ADDS ½·max(0, B − C)² to the positions read where block-top-k SUBTRACTS it; the integral of min(B, C + t)
       needs the minus.
    2. Neither stops at B ≥ C + L, so that block-top-k reads too little there, and less than nothing for
       L < (B − C)²/2B: its cost can be NEGATIVE.
    3. Blocks are counted by one floor division of a sum over all steps.
    4. The prompt is shared in dense memory and in block-top-k's search, but not in the reads of what was selected:
       top-k that covers everything costs more than dense.
    5. Weights are read for free, and prefill is free.
    6. `head_dim` there means head_dim · layers; here it means head_dim.
    7. Its 562.5 FLOP per byte of B200 is the rate with sparsity over the bandwidth; B200's dense BF16 gives 281.25.
       (`intensity` is the caller's: nothing is done about it.)
    It also counts a step for each of L tokens, in the limit of long outputs, and knows neither windows nor a search.

    `terms` names those to count. Raises ValueError for an unknown one, an intensity that is no number from 0, and a
    search under `published`.
    """
    check_number("arithmetic_intensity", intensity)
    if unknown := set(terms) - set(TERMS):
        raise ValueError(f"terms {sorted(unknown)} do not exist: name any of {', '.join(TERMS)}")
    if published:
        counted = published_work(shape, workload)
    else:
        counted = dict.fromkeys(TERMS, 0.0)
        parts = [
            prefill_work(shape, workload),
            *(decode_work(shape, workload, run) for run in workload.runs()),
        ]
        if workload.verifier is not None:
            spent = cost(workload.verifier.shape, workload.verifier.workload, 1.0)
            parts.append({"verifier_compute": spent.compute, "verifier_memory": spent.memory})
        for part in parts:
            for name, amount in part.items():
                counted[name] += amount
    weights = {name: intensity if name in MEMORY_TERMS else 1.0 for name in TERMS}
    return Cost({name: counted[name] * weights[name] for name in TERMS if name in counted and name in terms})


def prefill_work(shape: ModelShape, workload: Workload) -> Mapping[str, float]:
    """The pass over the prompt, which gives every sample its first token: FLOP, and bytes of memory terms."""
    new = workload.prompt_tokens - workload.cached_tokens
    starts = workload.output_tokens and not workload.past
    prompts, first_tokens = workload.prompts, workload.depths[0].paths if starts else 0.0
    if not new and not first_tokens:
        return {}
    attention = sum(
        layers * prompts * capped_sum(workload.cached_tokens + 1, 1, window, new)
        for layers, window in shape.layer_groups
    )
    body = shape.active_params - shape.head_params
    return {
        "prefill_linear": 2 * (body * prompts * new + shape.head_params * first_tokens),
        "prefill_attention": shape.prefill_attention_flops * attention,
        "weight_reads": shape.weight_bytes_read(max(1.0, prompts * new)) / workload.concurrency,
    }


def decode_work(shape: ModelShape, workload: Workload, run: Run) -> Mapping[str, float]:
    """A run of decode steps: FLOP, and bytes of memory terms."""
    attended = read = 0.0
    budget = attention_budget(workload.attention)
    for layers, window in shape.layer_groups:
        most = min(window, budget)
        own = run.paths * capped_sum(workload.prompt_tokens + run.first, 1, most, run.steps)
        attended += layers * own
        if workload.share_prompt:
            there = workload.prompt_tokens + run.paths * run.first
            own = capped_sum(there, run.paths, run.paths * most, run.steps)
        read += layers * own
    batch = run.paths * workload.concurrency
    work = {
        "linear": 2 * shape.active_params * run.paths * run.steps,
        "attention": shape.decode_attention_flops * attended,
        "weight_reads": run.steps * shape.weight_bytes_read(batch) / workload.concurrency,
        "kv_reads": shape.kv_elements * shape.kv_bytes * read,
    }
    if isinstance(workload.attention, BlockTopK):
        search, search_read = _block_search(shape, workload, workload.attention, run)
        work["block_search"] = shape.decode_attention_flops / 2 * search
        work["block_search_reads"] = shape.kv_elements / 2 * shape.kv_bytes * search_read
    return work


def kv_bytes_peak(shape: ModelShape, workload: Workload) -> float:
    """Bytes of KV cache that one request holds at its fullest: prompt and all tokens; of layers with a window, that."""
    peak, length = 0.0, workload.past
    for depth in workload.depths:
        length += depth.tokens
        held = sum(layers * _held(workload, depth, length, window) for layers, window in shape.layer_groups)
        peak = max(peak, held)
    return shape.kv_elements * shape.kv_bytes * peak


def memory_bytes(shape: ModelShape, workload: Workload) -> float:
    """Bytes that the model and all `concurrency` requests take at their fullest: to compare with the hardware's."""
    return shape.params * shape.weight_bytes + workload.concurrency * kv_bytes_peak(shape, workload)


def attention_budget(attention: Attention) -> float:
    """Positions a generated token attends to at most."""
    return math.inf if isinstance(attention, Dense) else attention.budget


def capped_sum(start: float, slope: float, cap: float, steps: float) -> float:
    """The sum of min(cap, start + slope·i) over i = 0, …, steps − 1, slope > 0; smooth between whole steps."""
    if steps <= 0:
        return 0.0
    below = steps
    if start + slope * (steps - 1) > cap:
        below = min(steps, max(0.0, math.floor((cap - start) / slope) + 1.0))
    total = below * start + slope * below * (below - 1) / 2
    return total if below == steps else total + (steps - below) * cap


def _held(workload: Workload, depth: Depth, length: float, window: float) -> float:
    """Positions in the KV cache of one layer at a depth's end."""
    past = depth.paths * length if depth.kept is None else min(depth.kept, depth.paths * length)
    if workload.share_prompt:
        return min(workload.prompt_tokens + past, depth.paths * window)
    return min(depth.paths * workload.prompt_tokens + past, depth.paths * window)


def _block_search(
    shape: ModelShape, workload: Workload, attention: BlockTopK, run: Run
) -> tuple[float, float]:
    """Blocks that queries are compared with, and blocks read, both times layers, over a run."""
    prompt = workload.prompt_tokens
    # The first step in which there is more than may be kept.
    first = max(run.first, math.floor(attention.budget - prompt) + 1.0)
    steps = run.first + run.steps - first
    layers = shape.num_layers - shape.sliding_layers
    if steps <= 0 or not layers:
        return 0.0, 0.0
    size = attention.block_size
    each = _ceilings(prompt + first + steps - 1, size) - _ceilings(prompt + first - 1, size)
    compared = run.paths * each
    # Full blocks of a shared prompt are the same for all paths.
    shared = (run.paths - 1) * math.floor(prompt / size) * steps if workload.share_prompt else 0.0
    return layers * compared, layers * (compared - shared)


def _ceilings(most: float, size: int) -> float:
    """The sum of ⌈x / size⌉ over x = 1, …, most."""
    full, rest = divmod(most, size)
    return size * full * (full + 1) / 2 + rest * (full + 1)


def published_work(shape: ModelShape, workload: Workload, *, corrected: bool = False) -> Mapping[str, float]:
    """FLOP and bytes as the paper's code counts them; see `cost`.

    `corrected`: with the positions that sparse attention reads as the true integral, oddities 1 and 2 mended. Without
    `share_prompt` every trial reads its own copy of the prompt, also of its blocks. Raises ValueError for a search.
    """
    if workload.tree or workload.past:
        raise ValueError(
            "published counts samples of one prompt, no search: leave out published or the search"
        )
    prompt, length, trials = workload.prompt_tokens, workload.output_tokens, workload.samples
    sharing = 1 if workload.share_prompt else trials
    attention = workload.attention
    blocks = block_reads = 0.0
    if isinstance(attention, Dense):
        attended = (2 * prompt + length) * length / 2
        read = (2 * prompt * sharing + length * trials) * length / 2
    else:
        attended = _published_positions(attention, prompt, length, corrected)
        read = attended * trials
        if isinstance(attention, BlockTopK):
            blocks = (2 * prompt + length) // attention.block_size * length / 2
            block_reads = (2 * prompt * sharing + length * trials) // attention.block_size * length / 2
    position = shape.num_layers * shape.decode_attention_flops
    element = shape.num_layers * shape.kv_elements * shape.kv_bytes
    return {
        "linear": 2 * shape.active_params * length * trials,
        "attention": position * attended * trials,
        "block_search": position / 2 * blocks * trials,
        "kv_reads": element * read,
        "block_search_reads": element / 2 * block_reads,
    }


def _published_positions(attention: TopK | BlockTopK, prompt: float, length: float, corrected: bool) -> float:
    budget = attention.budget
    if not corrected:
        sign = -0.5 if isinstance(attention, BlockTopK) else 0.5
        return budget * length + sign * max(0, budget - prompt) ** 2
    if budget <= prompt:
        return budget * length
    if budget >= prompt + length:
        return prompt * length + length**2 / 2
    return budget * length - (budget - prompt) ** 2 / 2
