import msgspec
import pytest

from engines.base import EngineGarbage
from engines.transport import decode
from verifiers.pooling import Pooled, Pooling


def rows(json: str) -> list[list[float | None]]:
    return Pooled(msgspec.Raw(json.encode())).rows()


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        ("[[0.1, 0.9], [0.2, 0.8]]", [[0.1, 0.9], [0.2, 0.8]]),
        ("[0.1, 0.9]", [[0.1, 0.9]]),
        ("[0.5]", [[0.5]]),
        ("[1]", [[1.0]]),
        ("[[0.1, null]]", [[0.1, None]]),
        ("[null]", [[None]]),
        ("[]", []),
    ],
)
def test_rows_are_one_a_position_or_one_for_all(json, expected):
    assert rows(json) == expected


@pytest.mark.parametrize("json", ['"AAAA"', "[[1], 2]", '["a"]', "[[[1]]]", "{}", "null", "[true]"])
def test_what_is_no_row_is_garbage(json):
    with pytest.raises(EngineGarbage):
        rows(json)


def test_usage_may_be_missing():
    assert decode(b'{"data": [{"data": [1]}]}', Pooling).usage.prompt_tokens == 0
