import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.text import read_reference, read_text


@pytest.mark.parametrize(
    "way",
    [
        "Paris",
        "paris.",
        " **Paris** ",
        '"Paris"',
        "\u201cParis\u201d",
        "> Paris!",
        "PARIS\n",
        "\uff30aris",
        "`Paris`",
    ],
)
def test_case_spacing_and_what_surrounds_it_make_no_difference(way: str) -> None:
    assert read_text(way) == "paris"


@pytest.mark.parametrize(
    ("one", "other"), [("The Who", "who"), ("C++", "C"), ("-5", "5"), (".5", "5"), ("co-op", "coop")]
)
def test_words_and_signs_make_a_difference(one: str, other: str) -> None:
    assert read_text(one) != read_text(other)


def test_inner_white_space_collapses() -> None:
    assert read_text("New \t\n York") == "new york"


@pytest.mark.parametrize("nothing", ["", "  ", "...", "**"])
def test_nothing_is_no_answer(nothing: str) -> None:
    assert read_text(nothing) is None


def test_a_reference_may_be_boxed_or_end_a_solution() -> None:
    assert (
        read_reference("\\boxed{Paris}")
        == read_reference("It is on the Seine.\n#### Paris")
        == read_text("paris")
    )


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gives_text_that_can_be_sent_and_reads_as_itself(text: str) -> None:
    answer = read_text(text)
    if answer is not None:
        answer.encode()
        assert read_text(answer) == answer
