import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.choice import read_choice


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("(b)", "B"),
        ("b", "B"),
        ("**B**", "B"),
        ("B. Paris", "B"),
        ("B) Paris", "B"),
        ("(B) Paris is the capital, unlike (C).", "B"),
        ("\\boxed{B}", "B"),
        ("\\boxed{\\text{(B)}}", "B"),
        ("\\boxed{\\textbf{(B) } 12}", "B"),
        ("Answer: B", "B"),
        ("**Answer:** (B)", "B"),
        ("The answer is B.", "B"),
        ("The answer is B because A is wrong.", "B"),
        ("The answer is A because B is wrong.", "A"),
        ("The correct answer is option (B), not C", "B"),
        ("Comparing A and B, I would choose B", "B"),
        ("I think the best one is (I)", "I"),
        ("J", "J"),
    ],
)
def test_the_chosen_option_is_read(response: str, letter: str) -> None:
    assert read_choice(response) == letter


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I think that a banana is fine.",
        "A banana is what I want.",
        "The answer is a banana",
        "I'd rather not say.",
        "K",
        "Because",
    ],
)
def test_articles_pronouns_and_words_are_no_options(response: str) -> None:
    assert read_choice(response) is None


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_read_without_error_and_the_letter_reads_as_itself(text: str) -> None:
    letter = read_choice(text)
    assert letter is None or (letter in "ABCDEFGHIJ" and read_choice(letter) == letter)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["(A", "A ", "((((", "\\text{", "answer is (", "answer is \\text{"])
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    read_choice(piece * (1_000_000 // len(piece)))
