import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.drawing.chart import AXIS, HEAD, HEIGHT, MARGIN, WIDTH, Frame, powers_of_two, tens, written

shares = st.lists(st.floats(0, 1), min_size=1, max_size=9)
costs = st.lists(st.floats(1e-12, 1e30), min_size=1, max_size=9)


@settings(deadline=None)
@given(costs, shares)
def test_everything_stands_within_the_frame_and_in_order(xs, accuracies):
    frame = Frame.around(xs, accuracies)
    left, right = MARGIN + AXIS, WIDTH - MARGIN
    places = [frame.at(x, accuracy) for x in sorted(xs) for accuracy in sorted(accuracies)]
    assert all(
        left - 1e-6 <= x <= right + 1e-6 and HEAD - 1e-6 <= y <= HEAD + HEIGHT + 1e-6 for x, y in places
    )
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert 0 <= frame.low < frame.high <= 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_accuracy_has_room(share):
    frame = Frame.around([1, 2], [share])
    assert frame.low <= share <= frame.high


@settings(deadline=None)
@given(costs)
def test_ticks_are_rising_few_and_within(xs):
    least, most = min(xs), max(xs) * 1.5
    ticks = [value for value, _ in tens(least, most)]
    assert ticks == sorted(ticks)
    assert len(ticks) <= 26
    assert all(least <= tick <= most for tick in ticks)


def test_samples_double_from_line_to_line():
    assert powers_of_two(1, 20) == [(1, "1"), (2, "2"), (4, "4"), (8, "8"), (16, "16")]
    frame = Frame.around([1, 16], [0.2, 0.4])
    steps = [frame.at(2 * n, 0.3)[0] - frame.at(n, 0.3)[0] for n in (1, 2, 4, 8)]
    assert steps == pytest.approx([steps[0]] * 4)


@pytest.mark.parametrize(
    ("value", "words"),
    [(250, "250"), (1200, "1,200"), (0.05, "0.05"), (3e15, "3e+15"), (1.5, "1.5"), (0, "0")],
)
def test_numbers_are_written_in_few_characters(value, words):
    assert written(value) == words


def test_a_single_cost_has_room_on_both_sides():
    frame = Frame.around([5.0], [0.5])
    assert frame.least < 5 < frame.most
    assert math.isclose(frame.at(5, 0.5)[0], (MARGIN + AXIS + WIDTH - MARGIN) / 2)
