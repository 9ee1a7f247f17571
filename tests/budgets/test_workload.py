"""Requests that cannot be priced are refused, with the field named."""

import math

import pytest

from budgets.kinetics import cost
from budgets.models import ModelShape
from budgets.workload import BlockTopK, Depth, TopK, Workload

SMALL = ModelShape(1000, 1000, num_layers=2, num_attention_heads=4, num_kv_heads=2, head_dim=8)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Workload(-1, 3), "prompt_tokens"),
        (lambda: Workload(math.nan, 3), "prompt_tokens"),
        (lambda: Workload(1, math.inf), "output_tokens"),
        (lambda: Workload(1, 10**400), "output_tokens"),
        (lambda: Workload(1, 3, 0), "samples"),
        (lambda: Workload(1, 3, True), "samples"),
        (lambda: Workload(1, "3"), "output_tokens"),
        (lambda: Workload(1, 3, concurrency=0.5), "concurrency"),
        (lambda: Workload(1, 3, cached_tokens=2), "cached_tokens"),
        (lambda: Workload.search(1, []), "depths"),
        (lambda: Depth(0, 1), "paths"),
        (lambda: Depth(1, -1), "tokens"),
        (lambda: Depth(1, 1, math.nan), "kept"),
        (lambda: TopK(0), "budget"),
        (lambda: TopK(1.5), "budget"),
        (lambda: BlockTopK(0, 16, 0), "local and topk"),
        (lambda: BlockTopK(1, 0, 1), "block_size"),
        (lambda: cost(SMALL, Workload(1, 1), math.nan), "arithmetic_intensity"),
        (lambda: cost(SMALL, Workload(1, 1), 1, terms=("kv",)), "kv_reads"),
        (lambda: cost(SMALL, Workload.search(1, [Depth(1, 1)]), 1, published=True), "published"),
    ],
)
def test_what_cannot_be_priced_is_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()
