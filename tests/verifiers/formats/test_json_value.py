import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formats.json_value import decode, encode, nesting, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "response",
    [
        '{"b": 1.0, "a": [1e0, 2]}',
        ' {"a":[1,2],"b":1}\n',
        'First {"a": 0}:\n```json\n{"a": [1, 2], "b": 1}\n```\nDone.',
        'Here it is: {"a": [1, 2], "b": 1}. And {"a": 3}.',
        '{"b": 2, "a": [1, 2], "b": 1}',
        '```\n{"a": [1, 2.0], "b": 1}\n```',
    ],
)
def test_one_value_written_in_many_ways_is_one_answer(response: str) -> None:
    assert read_json(response) == '{"a":[1,2],"b":1}'


@pytest.mark.parametrize("response", ["42", '"yes"', "true", "null"])
def test_a_whole_text_may_be_a_scalar(response: str) -> None:
    assert read_json(response) == response


@pytest.mark.parametrize(
    "response",
    ["", "no JSON", '{"a": NaN}', "[Infinity]", "[1e999]", '{"a": 1', "[" * 100 + "]" * 100, "{'a': 1}"],
)
def test_what_is_not_json_is_no_answer(response: str) -> None:
    assert read_json(response) is None


def test_integers_keep_every_digit_and_large_floats_equal_them() -> None:
    assert read_json("[12345678901234567890, 1e23]") == f"[12345678901234567890,{10**23}]"


def test_numbers_too_small_for_a_float_are_zero() -> None:
    assert read_json("[1e-320, 1e-999999999, -0.0]") == "[1e-320,0,0]"


def test_lone_surrogates_give_an_answer_that_can_be_sent() -> None:
    answer = read_json('{"a": "\\ud800"}')
    assert answer is not None
    answer.encode()


def test_nesting_is_counted_up_to_its_limit() -> None:
    assert [nesting(value) for value in (1, [], [1], {"a": [1]})] == [0, 0, 1, 2]
    with pytest.raises(ValueError, match="deep"):
        decode("[" * 65 + "1" + "]" * 65)


@given(VALUES)
def test_values_come_back_equal_and_in_one_form(value: object) -> None:
    answer = read_json(json.dumps(value))
    assert answer is not None
    assert decode(answer)[0] == value
    assert read_json(json.dumps(value, indent=2)) == answer == encode(decode(answer)[0])


@given(st.text(st.characters(exclude_categories=())) | st.text('{}[]",:0123456789.eE-`\n a'))
def test_any_text_is_read_without_error_and_the_answer_reads_as_itself(text: str) -> None:
    answer = read_json(text)
    assert answer is None or read_json(answer) == answer


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["[", "{", '{"a":', "[1,", "```", "```{", "9"])
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    read_json(piece * (1_000_000 // len(piece)))


def test_numbers_of_a_long_text_are_read_exactly_and_only_so_much_of_it_is_read() -> None:
    assert read_json("[1.0" + " " * 2_000 + "]") == "[1]"
    assert read_json("x" * 200_000 + '{"a": 1.0} and more' + " " * 200_000) == '{"a":1}'
    assert read_json("[" + "1," * 50_000 + "1]") is None
