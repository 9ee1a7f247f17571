from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats import numerals

NUMBERS = st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", Fraction(42)),
        ("-4", Fraction(-4)),
        ("\u22124", Fraction(-4)),
        ("1,000", Fraction(1000)),
        ("1,00,000", Fraction(100_000)),
        ("1{,}000", Fraction(1000)),
        ("1\\,000", Fraction(1000)),
        ("1\u202f000", Fraction(1000)),
        ("1000.0", Fraction(1000)),
        ("1e3", Fraction(1000)),
        ("1.5e-3", Fraction(3, 2000)),
        ("3 \\times 10^{8}", Fraction(300_000_000)),
        ("3/8", Fraction(3, 8)),
        ("\\frac{3}{8}", Fraction(3, 8)),
        ("-\\dfrac{3}{8}", Fraction(-3, 8)),
        ("\\frac38", Fraction(3, 8)),
        ("1\\frac{1}{10}", Fraction(11, 10)),
        ("2 1/2", Fraction(5, 2)),
        (".5", Fraction(1, 2)),
        ("$6", Fraction(6)),
        ("-$6.50", Fraction(-13, 2)),
        ("\\$6", Fraction(6)),
        ("48^\\circ", Fraction(48)),
        ("100\\text{ square units}", Fraction(100)),
        ("18 dollars per day", Fraction(18)),
    ],
)
def test_exact_reads_the_number_that_the_whole_text_is(text: str, value: Fraction) -> None:
    assert numerals.exact(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "4a-2",
        "4t",
        "x = 4",
        "3, 4",
        "1/0",
        "4 million",
        "4 p.m.",
        "4:30",
        "5 or more",
        "50%",
        "2^{10}",
    ],
)
def test_exact_leaves_alone_what_is_more_than_a_number(text: str) -> None:
    assert numerals.exact(text) is None


@pytest.mark.parametrize(
    "text",
    ["1e999999999", "1" * 1_000_000, "1e-101", f"1/{'9' * 200}", f"3 x 10^{'9' * 90}", "0." + "1" * 200],
)
def test_numbers_too_large_to_compute_with_are_not_read(text: str) -> None:
    assert numerals.exact(text) is None
    assert numerals.last(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10-5", 5),
        ("10 - 5", 5),
        ("= -4", -4),
        ("3, 4, 5", 5),
        ("x2 and H2O", None),
        ("5 m^2", 5),
        ("on 12/25/2020", 2020),
        ("version 3.14.15", Fraction("3.14")),
        ("1 200 300", 300),
        ("it is " + "1" * 30, Fraction(int("1" * 30))),
    ],
)
def test_last_reads_the_last_number_in_prose(text: str, value: Fraction | None) -> None:
    assert numerals.last(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("so she has 18 dollars.", 18),
        ("7 + 8 = 15", 15),
        ("A line.\nTotal: $1,200", 1200),
        ("4a-2", None),
        ("I counted 7 of them yesterday and then went home", None),
        ("4 p.m.", None),
    ],
)
def test_ending_reads_a_number_only_where_the_text_ends_with_it(text: str, value: int | None) -> None:
    assert numerals.ending(text) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Fraction(1000), "1000"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 20), "-0.05"),
        (Fraction(1, 3), "1/3"),
        (Fraction(0), "0"),
        (Fraction(-7, 6), "-7/6"),
    ],
)
def test_show_writes_decimals_where_they_are_exact(value: Fraction, shown: str) -> None:
    assert numerals.show(value) == shown


@given(NUMBERS)
def test_what_is_shown_reads_back_as_itself(value: Fraction) -> None:
    shown = numerals.show(value)
    assert numerals.exact(shown) == value
    assert numerals.last(f"so it is {shown}.") == value


@given(st.integers(-(10**15), 10**15))
def test_every_way_to_write_an_integer_is_the_same_number(value: int) -> None:
    ways = [
        str(value),
        f"{value:,}",
        f"{value}.0",
        f"{value}e0",
        f"{value} apples",
        f"\\frac{{{value}}}{{1}}",
        f"{value}/1",
    ]
    assert {numerals.exact(way) for way in ways} == {Fraction(value)}
