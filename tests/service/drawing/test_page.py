import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.drawing import draw, read
from tests.reference import ROOT
from tests.service.drawing.traces import (
    SMALL,
    SVG,
    candidate,
    chosen,
    having,
    node,
    outcome,
    picture,
    select,
    steps,
    tooltips,
    words,
)

HOSTILE = [
    "</title><script>alert(1)</script>",
    "]]>&amp;&#0;<!--",
    "\x00\x08\x1b[31m\x7f\x85",
    "\ud800\udfff lone",
    "\ufffe\uffff",
    "\u202eevil\u2066",
    "שלום עולם",
    "e" + "\u0301" * 400,
    "﷽" * 300,
    "𝕏" * 300,
    "\n" * 5000,
    "x" * 3_000_000,
]


def test_every_step_is_a_mark_with_its_numbers_and_the_chosen_path_stands_out():
    drawn = picture(outcome(candidate(), trace=SMALL))
    told = [words for words in tooltips(drawn) if words.startswith("step ")]
    assert len(told) == 6
    assert "step 3 after 2, depth 2\nscore 0.5, 10 tokens; continued ×1, on the chosen path\nstep" in told
    assert "step 5 after 2, depth 2\nno score, 10 tokens; pruned\nstep" in told
    assert len(having(drawn, "node", "ring")) == 3
    assert (
        len([mark for mark in having(drawn, "node", "pruned") if mark.find(f"{SVG}title") is not None]) == 2
    )
    assert len(having(drawn, "way")) >= 1
    assert {"score 0", "step", "finished", "pruned", "no score", "chosen path"} <= set(words(drawn))


def test_a_colour_says_the_score():
    drawn = picture([steps(1, node(1, score=0.0), node(2, score=1.0))])
    fills = [e.get("fill") for e in drawn.iter(f"{SVG}circle") if e.find(f"{SVG}title") is not None]
    assert fills == ["#440154", "#fde725"]


def test_wide_edges_are_continued_more_often():
    drawn = picture([steps(1, node(1), node(2), node(3)), select(1, [1, 9], [2, 1])])
    paths = [e for e in drawn.iter(f"{SVG}path") if e.get("d").startswith("M62 ")]
    widths = {e.get("class"): float(e.get("stroke-width")) for e in paths if e.get("class") == "lost"}
    edges = sorted(float(e.get("stroke-width")) for e in paths if e.get("class") == "edge")
    assert edges == pytest.approx([1.1, 3.3])
    assert widths == {"lost": 1.1}


def test_iterations_stand_one_below_the_other():
    trace = [steps(1, node(i, finished=True), iteration=i) for i in (1, 2)]
    drawn = picture([*trace, chosen(2)])
    assert {"iteration 1", "iteration 2"} <= set(words(drawn))
    assert len(having(drawn, "prompt")) == 2


def test_steps_of_an_earlier_iteration_are_marked():
    trace = [steps(1, node(1), iteration=1), steps(2, node(2), iteration=2), select(2, [1, 2], iteration=2)]
    drawn = picture(trace)
    (mark,) = (e for e in having(drawn, "recalled") if e.find(f"{SVG}title") is not None)
    assert "of an earlier iteration" in mark.find(f"{SVG}title").text
    assert "of an earlier iteration" in words(drawn)


def test_the_header_the_warnings_and_the_chosen_steps_are_told():
    drawn = picture(outcome(candidate(), trace=SMALL, strategy="beam_search", warnings=["It is simulated."]))
    told = words(drawn)
    assert told[:2] == ["beam_search: 42", "m · 4 samples · 2,048 tokens · 1.25 s · verifier prm"]
    assert "It is simulated." in told
    assert "The chosen path" in told


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_whatever_a_model_wrote_is_text_of_a_small_valid_picture(text):
    search = [steps(1, node(1, text=text), node(2, text=text)), chosen(1, text)]
    searched = outcome(
        candidate(text, text=text), trace=search, strategy=text, verifier=text, warnings=[text]
    )
    for value in (searched, searched | {"trace": []}, search):
        drawn = picture(value)
        assert {e.tag.removeprefix(SVG) for e in drawn.iter()} <= {
            "svg", "style", "rect", "g", "path", "circle", "line", "text", "title",
        }  # fmt: skip
        assert len(draw(read(json.dumps(value).encode()))) < 30_000


def test_nothing_is_fetched_or_run():
    drawn = picture(outcome(candidate(), trace=SMALL))
    names = {name for e in drawn.iter() for name in e.attrib}
    assert not {name for name in names if "href" in name or name.startswith("on")}
    (style,) = drawn.iter(f"{SVG}style")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_a_big_run_is_a_bounded_picture_that_says_what_it_leaves_out():
    chance = random.Random(1)
    trace, last = [], [0]
    for depth in range(1, 60):
        made = range(depth * 1000, depth * 1000 + 400)
        trace.append(
            steps(depth, *(node(i, chance.choice(last), chance.random(), text="é" * 900) for i in made))
        )
        last = list(made)
    shown = draw(read(json.dumps([*trace, chosen(last[-1])]).encode()))
    assert len(shown) < 2_000_000
    assert "steps are left out" in shown


def test_the_same_run_is_the_same_picture():
    data = json.dumps(outcome(candidate(), trace=SMALL)).encode()
    assert draw(read(data)) == draw(read(data))


@settings(max_examples=50)
@given(st.data())
def test_any_search_can_be_drawn(data):
    trace, live, made = [], [0], 0
    for depth in range(1, data.draw(st.integers(1, 5)) + 1):
        nodes = []
        for parent in data.draw(st.lists(st.sampled_from(live), min_size=1, max_size=9)):
            made += 1
            score = data.draw(st.none() | st.floats(allow_nan=False))
            nodes.append(node(made, parent, score, data.draw(st.booleans()), data.draw(st.text(max_size=9))))
        trace.append(steps(depth, *nodes, kv=data.draw(st.integers(0, 10**15))))
        live = [n["node"] for n in nodes if not n["finished"]]
        if not live:
            break
        kept = [
            [id, data.draw(st.integers(0, 50))]
            for id in data.draw(st.lists(st.sampled_from(live), unique=True))
        ]
        trace.append(select(depth, *kept, kv=data.draw(st.integers(0, 10**15))))
    drawn = picture([*trace, chosen(data.draw(st.integers(1, made)))])
    assert len([words for words in tooltips(drawn) if words.startswith("step ")]) == made


def test_the_picture_in_the_documentation_is_what_the_command_draws():
    shown = (ROOT / "docs" / "search.svg").read_text()
    assert shown == draw(read((ROOT / "tests" / "data" / "search.json").read_bytes()))
