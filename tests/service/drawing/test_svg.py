import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drawing.svg import boxed, element, fitting, number, plain, short, title


@given(st.text(st.characters(exclude_categories=()), max_size=300), st.integers(1, 200))
def test_any_text_is_one_line_of_xml_and_as_short_as_asked(text, most):
    shown = plain(text, most)
    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1
    assert ET.fromstring(title(shown)).text in (shown, None if shown == "" else shown)
    assert ET.fromstring(boxed(1, 2, text, 80)) is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\n b\tc", "a b c"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("\u202eabc\u2066", "abc"),
        ("\ud800x\uffff", "\ufffdx\ufffd"),
        ("x" * 12, "xxxxxxxxx…"),
        (" " * 50 + "x", "…"),
    ],
)
def test_controls_are_gone_and_long_texts_end_in_an_ellipsis(text, shown):
    assert plain(text, 10) == shown


def test_wide_letters_take_more_room():
    assert fitting("abc", 100) == "abc"
    assert len(fitting("漢" * 50, 110)) < len(fitting("a" * 50, 110)) < 50


def test_an_element_escapes_its_attributes_and_shortens_numbers():
    assert element("a", x=1 / 3, class_="b", data_x='"<') == """<a x="0.33" class="b" data-x='"&lt;'/>"""
    assert [number(v) for v in (10.0, -0.001, 2.5, 100)] == ["10", "0", "2.5", "100"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (950, "950"),
        (1000, "1k"),
        (1234, "1.2k"),
        (9960, "10k"),
        (35_400, "35k"),
        (1.5e6, "1.5M"),
        (2e9, "2G"),
    ],
)
def test_counts_are_short(count, shown):
    assert short(count) == shown
