from collections import Counter
from math import ceil, floor, isclose
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.resampling import RESAMPLERS, effective_sample_size, normalised

weight_lists = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=20)
every_resampler = pytest.mark.parametrize("name", RESAMPLERS)


@every_resampler
@given(weights=weight_lists, n=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_n_survivors_in_ascending_order_none_of_weight_0(name, weights, n, seed):
    indices = RESAMPLERS[name](weights, n, Random(seed))
    assert len(indices) == n
    assert indices == sorted(indices)
    assert all(weights[i] > 0 for i in indices) or not any(weights)


@every_resampler
@given(weights=weight_lists, n=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_the_same_generator_gives_the_same_survivors(name, weights, n, seed):
    assert RESAMPLERS[name](weights, n, Random(seed)) == RESAMPLERS[name](weights, n, Random(seed))


GUARANTEES = {
    "multinomial": lambda share: (0, float("inf")),
    "stratified": lambda share: (floor(share) - 1, ceil(share) + 1),
    "systematic": lambda share: (floor(share), ceil(share)),
    "residual": lambda share: (floor(share), float("inf")),
}


@every_resampler
@given(weights=weight_lists, n=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_counts_keep_what_the_method_guarantees(name, weights, n, seed):
    counts = Counter(RESAMPLERS[name](weights, n, Random(seed)))
    for i, weight in enumerate(normalised(weights)):
        share = n * weight
        if not isclose(share, round(share), abs_tol=1e-9):  # rounding may push a whole number either way
            least, most = GUARANTEES[name](share)
            assert least <= counts[i] <= most


@every_resampler
def test_counts_are_unbiased(name):
    weights, n, rounds = [0.05, 0.5, 0.0, 0.15, 0.3], 7, 20_000
    rng, counts = Random(11), Counter()
    for _ in range(rounds):
        counts.update(RESAMPLERS[name](weights, n, rng))
    for i, weight in enumerate(weights):
        # Multinomial has the largest variance of the four: n·w·(1−w) a round.
        deviation = (n * weight * (1 - weight) / rounds) ** 0.5
        assert abs(counts[i] / rounds - n * weight) <= 4 * deviation


@every_resampler
def test_weights_that_alternate_are_not_all_rounded_the_same_way(name):
    weights = [1.6, 0.4] * 500
    kept = sum(i % 2 == 0 for i in RESAMPLERS[name](weights, 1000, Random(5)))
    assert abs(kept - 800) < 50  # four standard deviations of 1000 multinomial draws


@every_resampler
def test_weights_that_are_all_0_count_as_equal(name):
    rng = Random(3)
    counts = Counter(i for _ in range(3000) for i in RESAMPLERS[name]([0.0, 0.0, 0.0], 3, rng))
    assert all(abs(counts[i] - 3000) < 250 for i in range(3))


def test_effective_sample_size_goes_from_one_to_the_number_of_particles():
    assert effective_sample_size([1, 0, 0, 0]) == 1
    assert effective_sample_size([3, 3, 3, 3]) == 4
    assert isclose(effective_sample_size([0.5, 0.25, 0.25]), 1 / 0.375)


@given(weights=weight_lists)
def test_effective_sample_size_stays_within_its_bounds(weights):
    assert 1 - 1e-9 <= effective_sample_size(weights) <= len(weights) + 1e-9
