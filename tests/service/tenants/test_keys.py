import re

from hypothesis import given
from hypothesis import strategies as st

from service.tenants.keys import hash_secret, make_key, parse_key, same_secret


def test_keys_are_of_256_bits_and_never_the_same():
    made = [make_key() for _ in range(200)]
    assert len({id for id, _, _ in made}) == len({key for _, _, key in made}) == 200
    for id, hash, key in made:
        assert re.fullmatch(r"ak-[0-9a-f]{16}-[A-Za-z0-9_-]{43}", key)
        parsed = parse_key(key)
        assert parsed is not None
        assert parsed[0] == id
        assert same_secret(parsed[1], hash)
        assert parsed[1] not in hash


@given(st.text(max_size=120))
def test_nothing_else_has_a_keys_form(text):
    assert parse_key(text) is None
    assert parse_key(make_key()[2] + "x" + text) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_secret_matches_its_own_hash_alone(one, other):
    assert same_secret(one, hash_secret(other)) == (one == other)
