import pytest

from verifiers.formats import pattern as pattern_format
from verifiers.formats.base import AnswerFormatError
from verifiers.formats.pattern import RegexAnswers, check_pattern
from verifiers.workers import Workers

pytestmark = pytest.mark.asyncio(loop_scope="module")


def regex(workers: Workers, pattern: str, group: int | str | None = None) -> RegexAnswers:
    return RegexAnswers(pattern, check_pattern(pattern, group), workers)


@pytest.mark.parametrize(
    ("pattern", "group", "answer"),
    [
        ("x=(\\d+)", None, "22"),
        ("x=\\d+", None, "x=22"),
        ("(x)=(\\d+)", 2, "22"),
        ("x=(?P<value>\\d+)", "value", "22"),
        ("x=(\\d+)", 0, "x=22"),
        ("y=(\\d+)", None, None),
        ("\\d*", None, "22"),
    ],
)
async def test_the_group_of_the_last_match_is_the_answer(
    workers: Workers, pattern: str, group: int | str | None, answer: str | None
) -> None:
    assert await regex(workers, pattern, group).canonical(["x=1, then x=22."]) == [answer]


async def test_nul_characters_and_lone_surrogates_are_text(workers: Workers) -> None:
    assert await regex(workers, "a(.+)c").canonical(["a\0c", "a\ud800c"]) == ["\0", "\ufffd\ufffd\ufffd"]


async def test_a_reference_is_bare_or_is_matched(workers: Workers) -> None:
    answers = regex(workers, "x=(\\d+)")
    for reference in ("22", "\\boxed{22}", "so x=22", "work\n#### 22"):
        assert await answers.matches(["22", "1", None], reference) == [True, False, False]


async def test_a_pattern_too_slow_for_its_text_leaves_no_answer_and_a_warning(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_format, "_MOST_SECONDS", 0.2)
    answers = regex(workers, "(?:\\w?){400}z")
    assert answers.warnings == []
    for _ in range(2):
        assert await answers.canonical(["a" * 400_000]) == [None]
    (warning,) = answers.warnings
    assert "took too long" in warning


async def test_a_match_at_every_character_is_no_trouble(workers: Workers) -> None:
    assert await regex(workers, ".").canonical(["a" * 20_000 + "b"]) == ["b"]


@pytest.mark.parametrize(
    "pattern", ["(", "a{1000}{1000}", "a(?=b)", "(a)\\1", "\ud800", "a" * 1_001, "(?:(?:\\w{90}){9}){9}"]
)
async def test_what_is_no_usable_pattern_is_refused_by_name(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AnswerFormatError, match="The pattern cannot be used") as refused:
        check_pattern(pattern, None)
    assert refused.value.param == "scaling.answer.pattern"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("group", [2, -1, "name"])
async def test_a_group_that_the_pattern_lacks_is_refused_by_name(group: int | str) -> None:
    with pytest.raises(AnswerFormatError, match="has no group") as refused:
        check_pattern("(a)", group)
    assert refused.value.param == "scaling.answer.group"
