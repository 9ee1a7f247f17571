import pytest

from engines.base import Sample


@pytest.mark.parametrize(
    ("text", "last", "rest"),
    [
        ("def f():", "\n\n    ", "    "),
        ("def f():", ":\n\n    ", "    "),
        ("a", "\n\n\n", "\n"),
        ("a", "\n\n", ""),
        ("a\n", "\n", ""),
        ("a", "", ""),
        ("a", "unrelated", ""),
    ],
)
def test_what_a_token_holds_beyond_the_stop_string_is_known(text, last, rest):
    assert Sample(text, (1,), "stop", stopped_at="\n\n", last_token=last).overrun == rest


def test_nothing_runs_past_a_sample_that_no_stop_string_ended():
    assert Sample("a", (1,), "stop", last_token="a   ").overrun == ""
