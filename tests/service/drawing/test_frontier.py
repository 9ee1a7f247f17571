import itertools
from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from service.drawing.chart import MARGIN, WIDTH
from service.drawing.frontier import Offered, draw_frontier
from tests.service.drawing.traces import SVG, words

PLANS = [
    Offered(f"majority ×{n}", 10.0 * n, 0.3 + 0.05 * i, 0.2 + 0.05 * i, 0.4 + 0.05 * i, n == 4)
    for i, n in enumerate((1, 2, 4, 8))
]


def picture(plans):
    return ElementTree.fromstring(draw_frontier("What a budget buys", ["m"], plans, "tokens"))


def with_kind(drawn, kind: str):
    return [mark for mark in drawn.iter() if kind in (mark.get("class") or "").split()]


def test_each_plan_is_a_named_dot_and_the_recommended_one_is_in_a_ring():
    drawn = picture(PLANS)
    tips = {title.text: dot for dot in with_kind(drawn, "dot") for title in dot}
    assert next(iter(tips)) == "majority ×1\n30.0 %, 90 % interval 20.0 % to 40.0 %\n10 tokens"
    chosen = tips["majority ×4\n40.0 %, 90 % interval 30.0 % to 50.0 %\n40 tokens\nrecommended"]
    (ring,) = with_kind(drawn, "ring")
    assert (ring.get("cx"), ring.get("cy")) == (chosen.get("cx"), chosen.get("cy"))
    assert {plan.name for plan in PLANS} <= set(words(drawn))
    assert "tokens" in words(drawn)
    assert len(with_kind(drawn, "band")) == len(with_kind(drawn, "line")) == 1


def test_the_axis_has_three_ticks_and_more_however_narrow_it_is():
    for least, factor in itertools.product((3e-5, 0.7, 12.0, 2.3e3, 9e14), (1.0, 1.6, 2.5, 4.0, 50.0)):
        ends = (Offered("a", least, 0.3, 0.2, 0.4), Offered("b", least * factor, 0.5, 0.4, 0.6))
        ticks = [label.text for label in with_kind(picture(ends), "mid")][:-1]
        assert 3 <= len(ticks) == len(set(ticks)), (least, factor, ticks)


def test_a_single_plan_is_a_dot_without_a_line():
    drawn = picture([replace(PLANS[2])])
    assert len(with_kind(drawn, "dot")) == 1
    assert with_kind(drawn, "line") == with_kind(drawn, "band") == []


def test_the_recommended_name_stands_where_many_crowd():
    crowd = [Offered(f"plan {i}", 100 + i / 100, 0.5, 0.4, 0.6, i == 30) for i in range(40)]
    assert "plan 30" in words(picture(crowd))


share = st.floats(0, 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.floats(1e-12, 1e30), share, share, share), min_size=1, max_size=12))
def test_any_plans_make_a_picture_and_names_stay_within_it(plans):
    drawn = picture([Offered(*plan) for plan in sorted(plans, key=lambda plan: plan[1])])
    assert drawn.tag == f"{SVG}svg"
    for label in drawn.findall(f"{SVG}text"):
        assert MARGIN <= float(label.get("x")) <= WIDTH - MARGIN
