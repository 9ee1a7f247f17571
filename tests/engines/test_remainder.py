from hypothesis import given
from hypothesis import strategies as st

from engines.assembly import Assembly
from engines.base import Call, Chunk, Usage
from engines.remainder import Remainder


def call(prompts: int, n: int, **changes) -> Call:
    return Call(tuple((p,) for p in range(prompts)), n, 10, **changes)


def whole(remainder: Remainder) -> list[Chunk]:
    """Every sample that is asked for, each in two pieces: its prompt's only token, twice."""
    asked = remainder.call
    places = [(p, c) for p in range(len(asked.prompts)) for c in range(asked.n)]
    first = [Chunk(p, c, "", asked.prompts[p]) for p, c in places]
    return first + [Chunk(p, c, "", asked.prompts[p], finish_reason="stop") for p, c in places]


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(0, 64), max_size=4))
def test_however_often_a_stream_breaks_every_sample_comes_once_and_whole(prompts, n, breaks):
    asked = call(prompts, n)
    remainder, assembly = Remainder(asked), Assembly(asked)
    samples = {}
    for arrived in [*breaks, None]:
        if not remainder.missing:
            break
        for chunk in whole(remainder)[:arrived]:
            passed = remainder.passed(chunk)
            assert isinstance(passed, Chunk)
            if sample := assembly.add(passed):
                samples[passed.prompt, passed.choice] = sample.tokens
        remainder.restart()
    assert samples == {(p, c): (p, p) for p in range(prompts) for c in range(n)}
    assert assembly.tokens == 2 * prompts * n


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_only_what_is_missing_is_asked_for_again(prompts, n, data):
    asked = call(prompts, n)
    remainder = Remainder(asked)
    remainder.passed(Chunk(0, 0, "", ()))
    places = [(p, c) for p in range(prompts) for c in range(n)]
    finished = data.draw(st.lists(st.sampled_from(places), unique=True, max_size=len(places) - 1))
    for prompt, choice in finished:
        remainder.passed(Chunk(prompt, choice, "", (), finish_reason="stop"))
    remainder.restart()
    again = remainder.call
    assert len(again.prompts) * again.n == len(places) - len(finished) == len(remainder.missing)


def test_a_call_of_which_nothing_came_is_made_again_as_it_was():
    asked = call(2, 3, sampling={"seed": 4})
    remainder = Remainder(asked)
    remainder.restart()
    assert remainder.call is asked
    assert remainder.passed(Chunk(1, 2, "a", (1,))) == Chunk(1, 2, "a", (1,))
    assert remainder.passed(Usage(5, 1, 9)) == Usage(5, 1, 9)


def test_samples_that_are_asked_for_again_have_other_seeds_than_those_that_finished():
    remainder = Remainder(call(1, 4, sampling={"seed": 4, "temperature": 1}))
    remainder.passed(Chunk(0, 2, "", (), finish_reason="stop"))
    remainder.restart()
    assert (remainder.call.n, remainder.call.sampling) == (3, {"seed": 8, "temperature": 1})


def test_the_prompts_of_a_call_that_was_made_twice_are_counted_once():
    remainder = Remainder(call(3, 1))
    remainder.passed(Chunk(0, 0, "", (), finish_reason="stop"))
    remainder.restart()
    assert remainder.passed(Usage(2, 7, 20)) == Usage(3)
