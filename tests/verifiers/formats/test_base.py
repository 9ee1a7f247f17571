import threading

import pytest

from verifiers.answers import make_answers
from verifiers.formats.base import LONG, read_each
from verifiers.workers import Workers


async def test_long_texts_are_read_off_the_event_loop_and_short_ones_on_it() -> None:
    here = threading.get_ident()
    half = "x" * (LONG // 2)
    assert await read_each(lambda _: threading.get_ident(), [half, half]) == [here, here]
    assert here not in await read_each(lambda _: threading.get_ident(), [half, half + "x"])


@pytest.mark.parametrize("format", ["auto", "math", "number", "choice", "json", "text", "tool_call"])
async def test_long_texts_have_the_answers_they_would_have_alone(format: str) -> None:
    answers = make_answers(format, workers=Workers(), tools=format == "auto")
    texts = [f"{'words ' * 9_000}\nThe answer is {option}" for option in ("4", "B", '{"a": 1}')]
    together = await answers.canonical(texts)
    assert together == [(await answers.canonical([text]))[0] for text in texts]
    assert answers.warnings == []
