import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.number import read_number

ANY_TEXT = st.text(st.characters(exclude_categories=()))
NUMBER_LIKE = st.text(alphabet="0123456789.,/-+eE^{}\\$ fracx\u00d7=#%\n", max_size=60)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("7 and 8 make \\boxed{15}, which is more than 9.", "15"),
        ("\\boxed{1} was wrong; it is \\boxed{2}.", "2"),
        ("She sells 9 eggs at $2.\n#### 18", "18"),
        ("The answer is 42. I checked 3 times.", "42"),
        ("The answer is 5 + 3 = 8.", "8"),
        ("**Answer:** 42", "42"),
        ("So she makes $18 every day.", "18"),
        ("that is 5%", "5"),
        ("\\boxed{x = -\\frac{1}{3}}", "-1/3"),
        ("\\boxed{198\\%}", "198"),
        ("#### Step 2\nThe total is 12", "12"),
        ("The answer is unclear, but 12 is likely.", "12"),
        ("no numbers here", None),
        ("", None),
    ],
)
def test_the_final_number_is_read(response: str, answer: str | None) -> None:
    assert read_number(response) == answer


@pytest.mark.parametrize(
    "way", ["1,000", "1000.0", "1e3", "$1,000", "10^3 = 1000", "\\frac{2000}{2}", "1000 km"]
)
def test_one_number_written_in_many_ways_is_one_answer(way: str) -> None:
    assert read_number(way) == "1000"


@given(ANY_TEXT | NUMBER_LIKE)
def test_any_text_is_read_without_error_and_the_answer_reads_as_itself(text: str) -> None:
    answer = read_number(text)
    assert answer is None or read_number(answer) == answer


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_two_numbers_are_the_same_answer_exactly_where_they_are_equal(one: object, other: object) -> None:
    assert (read_number(f"It is {one}") == read_number(f"\\boxed{{{other}}}")) == (one == other)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["1,11", "1/", "9", "-", "\\frac{1}", "$", "\\boxed{", "answer is ", "#### ", "1=", " "]
)
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    read_number(piece * (1_000_000 // len(piece)))
