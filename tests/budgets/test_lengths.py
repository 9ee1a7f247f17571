import math

import numpy as np
import pytest

from budgets.lengths import LogNormal, Measured, reach

LENGTHS = np.random.default_rng(5).lognormal(6, 0.7, 20_000)
CAPS = [100.0, 400.0, 3000.0]


@pytest.mark.parametrize(
    "lengths", [LogNormal(6, 0.7), Measured.of(LENGTHS.tolist())], ids=["lognormal", "measured"]
)
def test_shares_and_tokens_are_those_of_drawn_lengths(lengths):
    for cap, share, tokens in zip(CAPS, lengths.finished(CAPS), lengths.tokens(CAPS), strict=True):
        assert share == pytest.approx(np.mean(cap >= LENGTHS), abs=0.012)
        assert tokens == pytest.approx(np.minimum(LENGTHS, cap).mean(), rel=0.02)


def test_cut_responses_do_not_count_as_short_ones():
    caps = np.random.default_rng(6).lognormal(6, 0.7, 20_000)
    ended = caps >= LENGTHS
    found = Measured.of(LENGTHS[ended].tolist(), caps[~ended].tolist())
    assert found.finished([300.0, 600.0]) == pytest.approx(
        LogNormal(6, 0.7).finished([300.0, 600.0]), abs=0.015
    )


def test_quantiles_are_where_such_a_share_ends():
    assert float(LogNormal(5, 1).finished(LogNormal(5, 1).quantile(0.9))) == pytest.approx(0.9)


def test_reach_is_relative_to_the_cap_of_the_fit():
    right, wrong = LogNormal(5, 0.5), LogNormal(6, 0.5)
    cut = reach(right, wrong, 200)
    assert cut.right == pytest.approx(float(right.finished(200)))
    assert cut.wrong < cut.right
    assert reach(right, wrong, 200, fitted_at=200).wrong == 1
    assert reach(right, wrong, 4000, fitted_at=200).right == 1


def test_bad_numbers_are_refused():
    for call, name in (
        (lambda: LogNormal(math.nan, 1), "mean"),
        (lambda: LogNormal(1, 0), "sd"),
        (lambda: LogNormal(1, 1).finished(0), "cap"),
        (lambda: LogNormal(1, 1).quantile(1.0), "share"),
        (lambda: Measured.of([]), "finished"),
    ):
        with pytest.raises(ValueError, match=name):
            call()
