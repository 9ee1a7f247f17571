import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats import extract


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("so \\boxed{4}", "4"),
        ("\\boxed{1}, no, \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\fbox{7}", "7"),
        ("\\boxed {7}", "7"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{3} but \\boxed{4 is cut", "3"),
        ("\\boxed{3} and \\boxed{}", "3"),
        ("\\boxed", None),
        ("\\boxed{" + "1" * 2_000 + "}", None),
    ],
)
def test_the_last_closed_box_counts(text: str, held: str | None) -> None:
    assert extract.boxed(text) == held


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("work\n#### 42", "42"),
        ("#### 42\n", "42"),
        ("#### Step 4\nmore", None),
        ("####", None),
        ("none", None),
    ],
)
def test_four_hashes_count_on_the_last_line(text: str, held: str | None) -> None:
    assert extract.hashed(text) == held


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The answer is 42.", "42"),
        ("the answer is: 42. Next, a question.", "42"),
        ("ANSWER: 42", "42"),
        ("**Answer:** 42\nBye", "42"),
        ("**Answer**: 42", "42"),
        ("The final answer is therefore $x$!", "$x$"),
        ("The answer to the first question is 3.5 metres.", "3.5 metres"),
        ("The answer is 1. No, the answer is 2.", "2"),
        ("The answer is 42. I hope this answer helps.", "42"),
        ("To answer this question, the key is to add.", None),
        ("no such thing", None),
    ],
)
def test_what_is_stated_ends_with_its_sentence(text: str, said: str | None) -> None:
    assert extract.stated(text) == said


def test_a_mark_counts_by_its_rank_not_its_place() -> None:
    assert extract.marked("\\boxed{1} The answer is 3.\n#### 2") == "1"
    assert extract.marked("The answer is 3.\n#### 2") == "2"


@pytest.mark.parametrize(
    ("text", "held"),
    [("$x$ then $y = 2$.", "y = 2"), ("$$\nz\n$$", "z"), ("\\(a\\) or \\[b\\]", "b"), ("costs \\$5", None)],
)
def test_the_last_formula_is_found(text: str, held: str | None) -> None:
    assert extract.last_formula(text) == held


def test_formulas_joined_in_a_sentence_are_one_answer() -> None:
    assert extract.leading_formulas("$x = 1$ and $x = 2$, by Vieta, not $x = 3$") == "x = 1, x = 2"
    assert extract.leading_formulas("about $2$") is None


@given(st.text(st.characters(exclude_categories=())) | st.text("\\boxed{}#Answer is:$()[]\n .1"))
def test_any_text_is_searched_without_error(text: str) -> None:
    extract.marked(text)
    extract.last_formula(text)
    extract.leading_formulas(text)
