from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from service.drawing.calibration import Curve, draw_curves
from tests.service.drawing.traces import SVG, words

share = st.floats(0, 1)


def picture(*curves: Curve):
    return ElementTree.fromstring(draw_curves("m on t", ["2 problems"], curves))


def with_kind(drawn, kind: str):
    return [mark for mark in drawn.iter() if kind in (mark.get("class") or "").split()]


def test_each_curve_is_a_line_in_its_band_with_a_dot_for_each_observation():
    seen, told = (
        [(1, 0.3), (2, 0.4), (4, 0.5)],
        [(1, 0.31, 0.2, 0.4), (2, 0.41, 0.3, 0.5), (4, 0.52, 0.4, 0.6)],
    )
    drawn = picture(Curve("coverage", seen, told), Curve("majority", seen[:1], told))
    assert len(with_kind(drawn, "line")) == len(with_kind(drawn, "band")) == 4  # two of them are keys
    assert len(with_kind(drawn, "dot")) == 3 + 1 + 2
    assert {"coverage", "majority", "m on t", "1", "2", "4", "samples"} <= set(words(drawn))
    tips = [title.text for title in drawn.iter(f"{SVG}title")]
    assert "coverage, 2 samples\nobserved 40.0 %\npredicted 41.0 %, 90 % interval 30.0 % to 50.0 %" in tips


def test_dots_rise_with_the_accuracy_and_lie_on_the_line_where_it_is_right():
    drawn = picture(Curve("c", [(1, 0.3), (4, 0.5)], [(1, 0.3, 0.2, 0.4), (4, 0.5, 0.4, 0.6)]))
    line = with_kind(drawn, "line")[-1].get("d")
    dots = [d for d in with_kind(drawn, "dot") if "observed" in d[0].text]
    assert line == "M" + "L".join(f"{d.get('cx')} {d.get('cy')}" for d in dots)
    assert float(dots[0].get("cy")) > float(dots[1].get("cy"))


@settings(deadline=None)
@given(st.text(), st.lists(st.tuples(st.integers(1, 10_000), share, share, share), max_size=6), share)
def test_any_curve_and_any_name_make_a_picture(name, points, value):
    rising = sorted({n: (n, *rest) for n, *rest in points}.values())
    drawn = picture(Curve(name, [(1, value)], rising))
    assert drawn.tag == f"{SVG}svg"
    assert "NaN" not in ElementTree.tostring(drawn).decode().replace(name, "")
