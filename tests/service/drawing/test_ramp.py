from itertools import pairwise

import pytest

from service.drawing.ramp import FLAT, Ramp, colour, shade


def lightness(code: str) -> float:
    """L of Oklab (Ottosson 2020)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in bytes.fromhex(code[1:]))
    )
    long = 0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue
    medium = 0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue
    small = 0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue
    return 0.2104542553 * long ** (1 / 3) + 0.7936177850 * medium ** (1 / 3) - 0.0040720468 * small ** (1 / 3)


def test_higher_scores_are_lighter_by_even_steps():
    steps = [lightness(colour(i / 20)) for i in range(21)]
    rises = [after - before for before, after in pairwise(steps)]
    assert min(rises) > 0
    assert max(rises) < 3 * min(rises)


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [([0.4, None, 0.6], 0, 1), ([-3.0, 5.0], -3, 5), ([2.0], 2, 2), ([-1.7e308, 1.7e308], -1.7e308, 1.7e308)],
)
def test_probabilities_share_a_range_and_rewards_have_their_own(scores, low, high):
    ramp = Ramp.over(scores)
    assert (ramp.low, ramp.high) == (low, high)
    assert ramp.colour(high) == colour(1)


def test_marks_without_a_score_are_hollow_beside_others_and_flat_alone():
    assert Ramp.over([None]) is None
    assert shade(None, None) == FLAT
    assert shade(Ramp(0, 1), None) is None
    assert shade(Ramp(0, 1), 0.0) == "#440154"
