"""How long a call takes: roofline seconds of prefill and of decode steps, each times a factor learned from calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from budgets.checks import check_number
from budgets.hardware import Hardware
from budgets.kinetics import MEMORY_TERMS, attention_budget, decode_work, prefill_work
from budgets.models import ModelShape
from budgets.workload import DENSE, Attention, BlockTopK, Run, Workload

LEAST, MOST = 1e-3, 1e4
"""The factors' bounds: an engine is neither a thousand times faster than its hardware nor ten thousand times slower."""

_PRIOR = 1.5**2
"""Variance of a factor's logarithm before any call: within 20 times either way."""
_DRIFT = 1e-3
"""Variance that a factor's logarithm gains with each call, so that the latest weigh most."""
_FIRST_SPREAD, _LEAST_SPREAD = 0.4**2, 0.02**2
"""Variance of a call's logarithm around its prediction: before any, and at least."""
_CLIP = 1.5
"""Standard deviations after which a call counts as an outlier, and no more than that."""


@dataclass(frozen=True, slots=True)
class Factors:
    """How much longer calls take than the roofline says, in prefill and in decoding: 1 each before any call.

    `observed` gives the next ones. They are estimated together, since a call's time is one number: an extended Kalman
    filter of their logarithms, in which an error is relative. An outlier moves them no more than `_CLIP` standard
    deviations do; drift is followed. Factors stay within `LEAST` and `MOST`.
    `variance`: of the logarithms, (prefill, both, decode). `spread`: variance of a call's logarithm. `calls`: so far.
    """

    prefill: float = 1.0
    decode: float = 1.0
    variance: tuple[float, float, float] = (_PRIOR, 0.0, _PRIOR)
    spread: float = _FIRST_SPREAD
    calls: int = 0

    def observed(self, prefill: float, decode: float, measured: float) -> Factors:
        """The factors after a call that took `measured` seconds, of which the roofline says `prefill` and `decode`.

        A measurement that can be none (not finite, not above 0, or of a call that the roofline gives no time)
        changes nothing.
        """
        parts = (self.prefill * prefill, self.decode * decode)
        predicted = sum(parts)
        if not (0 < measured < math.inf and 0 < predicted < math.inf and min(parts) >= 0):
            return self
        share, rest = parts[0] / predicted, parts[1] / predicted
        pp, pd, dd = self.variance
        pp, dd = min(_PRIOR, pp + _DRIFT), min(_PRIOR, dd + _DRIFT)
        toward_p, toward_d = pp * share + pd * rest, pd * share + dd * rest
        expected = toward_p * share + toward_d * rest + self.spread
        error = math.log(measured) - math.log(predicted)
        # An outlier is taken for a call of larger variance: Huber's weight.
        weighed = expected * max(1.0, abs(error) / (_CLIP * math.sqrt(expected)))
        # The spread goes up and down by steps until half of the errors are within 0.67 standard deviations.
        step = max(0.1, 1 / (self.calls + 1))
        spread = self.spread * math.exp(step if error**2 > 0.455 * expected else -step)
        return Factors(
            prefill=_bounded(self.prefill * math.exp(toward_p * error / weighed)),
            decode=_bounded(self.decode * math.exp(toward_d * error / weighed)),
            variance=(
                pp - toward_p * toward_p / weighed,
                pd - toward_p * toward_d / weighed,
                dd - toward_d * toward_d / weighed,
            ),
            spread=min(_PRIOR, max(_LEAST_SPREAD, spread)),
            calls=self.calls + 1,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `from_dict`."""
        return {**asdict(self), "variance": list(self.variance)}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Factors:
        """What `to_dict` gave. Raises ValueError for anything else."""
        try:
            factors = replace(cls(**kept), variance=tuple(kept["variance"]))
            pp, pd, dd = factors.variance
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                "these are no kept latency factors: delete them, and they are learned again"
            ) from error
        for name in ("prefill", "decode"):
            check_number(name, getattr(factors, name), least=LEAST, most=MOST)
        for value in (pp, dd):
            check_number("variance", value, most=_PRIOR, above=True)
        edge = math.sqrt(pp * dd)
        check_number("variance", pd, least=-edge, most=edge)
        check_number("spread", factors.spread, least=_LEAST_SPREAD, most=_PRIOR)
        check_number("calls", factors.calls, whole=True)
        return factors


def seconds(shape: ModelShape, hardware: Hardware, workload: Workload, factors: Factors = Factors()) -> float:
    """How long a whole call takes: its prefill and its decode steps, each times its factor.

    A verifier's time is not in it: ask for that with its own shape, hardware and factors.
    """
    return factors.prefill * prefill_seconds(shape, hardware, workload) + factors.decode * decode_seconds(
        shape, hardware, workload
    )


@dataclass(frozen=True, slots=True)
class Work:
    """Part of a call: its roofline seconds, and the FLOP and bytes that one request accounts for."""

    seconds: float
    flop: float
    read: float


def prefill_seconds(shape: ModelShape, hardware: Hardware, workload: Workload) -> float:
    """Roofline seconds of the pass over the prompt: computing and reading the weights.

    Samples share full blocks of the KV cache: what is past the last of them, the last token in any case, each computes
    for itself. Of this request alone: how long it waits for others' is for the factor to learn.
    """
    return timed_prefill(shape, hardware, workload).seconds


def timed_prefill(shape: ModelShape, hardware: Hardware, workload: Workload) -> Work:
    """The pass over the prompt; see `prefill_seconds`."""
    flop, read = _totals(prefill_work(shape, workload))
    compute = flop / hardware.flops_at(shape.weight_bytes) + _own_ends_seconds(shape, hardware, workload)
    # A prefill reads weights alone, of which the work counts one request's share.
    memory = workload.concurrency * read / hardware.bytes_per_second
    return Work(_together(hardware, compute, memory), flop, read)


def _own_ends_seconds(shape: ModelShape, hardware: Hardware, workload: Workload) -> float:
    """Seconds of computing the ends that no block has, of all samples but the one whose prompt is counted already."""
    held = workload.prompt_tokens + workload.past
    if not (held and workload.share_prompt and workload.output_tokens):
        return 0.0
    paths = workload.depths[0].paths
    blocks = math.ceil(held / hardware.block_tokens) - 1
    ends = Workload(held, 0, paths, share_prompt=False, cached_tokens=blocks * hardware.block_tokens)
    counted = 0.0 if workload.past else 1.0
    flop, _ = _totals(prefill_work(shape, ends))
    return flop / hardware.flops_at(shape.weight_bytes) * (paths - counted) / paths


def decode_step_seconds(
    shape: ModelShape,
    hardware: Hardware,
    *,
    sequences: float,
    context: float,
    attention: Attention = DENSE,
    shared_tokens: float = 0,
) -> float:
    """Roofline seconds of one decode step of so many sequences, each attending to `context` positions.

    The first `shared_tokens` of them are the same for all and read once. Raises ValueError, naming the field.
    """
    check_number("context", context, least=1)
    check_number("shared_tokens", shared_tokens, most=context)
    workload = Workload(shared_tokens, 0, sequences, attention)
    return _timed_run(shape, hardware, workload, Run(sequences, context - shared_tokens, 1)).seconds


def decode_seconds(shape: ModelShape, hardware: Hardware, workload: Workload) -> float:
    """Roofline seconds of all decode steps: of each the computing and the reading, as the context grows.

    `concurrency` requests like this one are in every step.
    """
    return timed_decode(shape, hardware, workload).seconds


def timed_decode(shape: ModelShape, hardware: Hardware, workload: Workload) -> Work:
    """All decode steps; see `decode_seconds`."""
    pieces = (piece for run in workload.runs() for piece in _pieces(shape, workload, run))
    parts = [_timed_run(shape, hardware, workload, piece) for piece in pieces]
    seconds = math.fsum(part.seconds for part in parts)
    return Work(seconds, sum(part.flop for part in parts), sum(part.read for part in parts))


def _timed_run(shape: ModelShape, hardware: Hardware, workload: Workload, run: Run) -> Work:
    """A run throughout which computing and reading grow by straight lines, and so cross once at most."""
    flop, read = _totals(decode_work(shape, workload, run))
    return Work(_run_seconds(shape, hardware, workload, run, flop, read), flop, read)


def _run_seconds(
    shape: ModelShape, hardware: Hardware, workload: Workload, run: Run, flop: float, read: float
) -> float:
    compute, memory = _balance(shape, hardware, workload, flop, read)
    if not hardware.overlaps:
        return compute + memory
    if run.steps > 1:
        step = decode_work(shape, workload, Run(run.paths, run.first, 1))
        first = _balance(shape, hardware, workload, *_totals(step))
        lead = first[0] - first[1]
        # Of a straight line the first and the last add up to twice the mean.
        last = 2 * (compute - memory) / run.steps - lead
        steps = math.ceil((run.steps - 1) * lead / (lead - last)) if lead * last < 0 else 0
        if 0 < steps < run.steps:
            part = decode_work(shape, workload, Run(run.paths, run.first, steps))
            before = _balance(shape, hardware, workload, *_totals(part))
            return max(before) + max(compute - before[0], memory - before[1])
    return max(compute, memory)


def _balance(
    shape: ModelShape, hardware: Hardware, workload: Workload, flop: float, read: float
) -> tuple[float, float]:
    """Seconds of computing and of reading memory, of all requests that run at once."""
    compute, memory = flop / hardware.flops_at(shape.weight_bytes), read / hardware.bytes_per_second
    return workload.concurrency * compute, workload.concurrency * memory


def _pieces(shape: ModelShape, workload: Workload, run: Run) -> Iterator[Run]:
    """The run, cut at the steps at which a budget or a window is full."""
    prompt, end = workload.prompt_tokens, run.first + run.steps
    caps = {min(window, attention_budget(workload.attention)) for _, window in shape.layer_groups}
    full = {cap - prompt / sharing for cap in caps if cap < math.inf for sharing in (1, run.paths)}
    if isinstance(workload.attention, BlockTopK):
        full.add(workload.attention.budget - prompt)
    if not full:
        yield run
        return
    cuts = sorted(
        {run.first, *(run.first + math.ceil(at - run.first) for at in full if run.first < at < end - 1)}
    )
    for start, stop in zip(cuts, [*cuts[1:], end], strict=True):
        yield Run(run.paths, start, stop - start)


def _together(hardware: Hardware, compute: float, memory: float) -> float:
    """Seconds of both: the longer where the hardware does them at once, else one after the other."""
    return max(compute, memory) if hardware.overlaps else compute + memory


def _totals(work: Mapping[str, float]) -> tuple[float, float]:
    """FLOP and bytes."""
    flop = read = 0.0
    for name, amount in work.items():
        if name in MEMORY_TERMS:
            read += amount
        else:
            flop += amount
    return flop, read


def _bounded(factor: float) -> float:
    return min(MOST, max(LEAST, factor))
