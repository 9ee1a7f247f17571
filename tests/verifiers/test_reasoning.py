from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.reasoning import CLOSE, OPEN, Part, ReasoningSplitter, split_reasoning

TEXTS = st.lists(st.sampled_from([OPEN, CLOSE, "\n", " ", "a", "<", "</th", "ink>", "b\n"]), max_size=8).map(
    "".join
)
CUTS = st.lists(st.integers(0, 40), max_size=10)


def streamed(text: str, cuts: list[int], *, started: bool) -> list[tuple[Part, str]]:
    """What a splitter says of `text`, cut at `cuts`."""
    splitter = ReasoningSplitter(started=started)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    said = [part for start, end in pairwise(edges) for part in splitter.feed(text[start:end])]
    return said + splitter.finish()


@pytest.mark.parametrize(
    ("text", "started", "split"),
    [
        ("Paris", False, (None, "Paris")),
        ("<think>hm</think>Paris", False, ("hm", "Paris")),
        ("<think>\nhm\n</think>\n\nParis\n", False, ("hm\n", "Paris\n")),
        ("hm</think>Paris", False, ("hm", "Paris")),
        ("hm</think>Paris", True, ("hm", "Paris")),
        ("<think>cut short", False, ("cut short", "")),
        ("cut short", True, ("cut short", "")),
        (" \n<think></think>4", False, ("", "4")),
        ("a</think>b</think>c", False, ("a", "b</think>c")),
        ("In HTML, <think> is no tag", False, (None, "In HTML, <think> is no tag")),
        ("", False, (None, "")),
    ],
)
def test_reasoning_comes_before_its_end_mark(text: str, started: bool, split: tuple[str | None, str]) -> None:
    assert split_reasoning(text, started=started) == split


@given(TEXTS, CUTS, st.booleans())
def test_any_chunking_gives_what_the_whole_text_gives(text: str, cuts: list[int], started: bool) -> None:
    said = streamed(text, cuts, started=started)
    whole = {part: "".join(text for kind, text in said if kind == part) for part in ("reasoning", "content")}
    if started or CLOSE not in text or text.lstrip().startswith(OPEN):
        reasoning, content = split_reasoning(text, started=started)
        assert whole == {"reasoning": reasoning or "", "content": content}
    else:
        assert whole == {"reasoning": "", "content": text}


@given(TEXTS, CUTS, st.booleans())
def test_reasoning_streams_before_content_and_never_empty(text: str, cuts: list[int], started: bool) -> None:
    said = streamed(text, cuts, started=started)
    assert all(text for _, text in said)
    assert [part for part, _ in said] == sorted((part for part, _ in said), reverse=True)


def test_text_is_streamed_as_soon_as_it_cannot_be_a_marker() -> None:
    splitter = ReasoningSplitter(started=True)
    assert splitter.feed("one </th") == [("reasoning", "one ")]
    assert splitter.feed("ree") == [("reasoning", "</three")]
    assert splitter.feed("</think>\n") == []
    assert splitter.feed("\nfour") == [("content", "four")]
    assert splitter.finish() == []
