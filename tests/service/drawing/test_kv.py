import pytest

from tests.service.drawing.traces import SMALL, SVG, having, node, picture, select, steps, words


def test_bars_are_as_high_as_their_tokens_and_stand_below_their_depth():
    drawn = picture(SMALL)
    heights = [float(bar.get("height")) for bar in having(drawn, "grown")[1:]]  # the first is in the key
    assert heights == pytest.approx([heights[0] * tokens / 120 for tokens in (120, 140, 130)], rel=1e-2)
    kept = [float(bar.get("height")) for bar in having(drawn, "kept")[1:]]
    assert kept == pytest.approx([heights[0] * tokens / 120 for tokens in (110, 120)], rel=1e-2)
    marks = {
        round(float(e.get("cx"))) for e in drawn.iter(f"{SVG}circle") if e.find(f"{SVG}title") is not None
    }
    middles = [round(float(bar.get("x")) + float(bar.get("width")) / 2) for bar in having(drawn, "grown")[1:]]
    assert marks <= set(middles)
    assert {"120 → 110", "140 → 120", "130"} <= set(words(drawn))


@pytest.mark.parametrize("tokens", [0, 1, 3, 999, 10**6, 10**15])
def test_axes_are_right_for_any_size(tokens):
    drawn = picture([steps(1, node(1), kv=tokens), select(1, [1, 1], kv=0)])
    _, bar = having(drawn, "grown")
    assert 0 <= float(bar.get("height")) <= 97
    assert 2 <= len(having(drawn, "grid")) <= 6
