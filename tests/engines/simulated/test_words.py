import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.words import (
    ASSISTANT,
    COMMA,
    END,
    SYSTEM,
    USER,
    VOCABULARY,
    ClauseBank,
    decode,
    encode,
    number_token,
    render,
    token_number,
    word,
)
from engines.simulated.world import SimulatedWorld
from tests.engines.simulated.serving import solve

WORLD = SimulatedWorld()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n ,.:0123456789"))


@given(TEXTS)
def test_any_text_is_encoded_exactly(text):
    assert decode(encode(text)) == text


@given(st.integers(0, 50), st.integers(0, 2**64), st.integers(0, 400))
def test_what_the_model_writes_encodes_back_to_its_own_tokens_wherever_it_is_cut(index, key, cut):
    tokens = solve(WORLD, WORLD.problem(index), key)[:-1][:cut]
    assert encode(decode(tokens)) == tokens


@given(st.lists(st.integers(0, VOCABULARY - 1)))
def test_any_tokens_have_a_text(tokens):
    assert isinstance(decode(tokens), str)


def test_a_lone_surrogate_is_replaced():
    assert decode(encode("a\ud800b")) == "a?b"


def test_numbers_are_words():
    assert token_number(number_token(412)) == 412
    assert decode([number_token(412)]) == " 412"
    assert token_number(word(",")) is None


def test_the_chat_template_marks_roles_and_ends():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": parts}]
    a, b = ord("a"), ord("b")
    assert render(messages, generation=False) == (SYSTEM, a, END, USER, *encode("ab"), END)
    assert render(messages)[-1] == ASSISTANT
    assert render([{"role": "assistant", "content": None}], generation=False) == (ASSISTANT, END)
    assert encode("ab") == (a, b)


@pytest.mark.parametrize("lengths", [(3, 3), (3, 5), (6, 10), (40, 40)])
def test_clauses_have_the_length_asked_for_and_one_comma_at_their_end(lengths):
    bank = ClauseBank(*lengths, seed=1)
    assert len(bank.clauses) == ClauseBank.SIZE
    assert {len(clause) for clause in bank.clauses} == set(range(lengths[0], lengths[1] + 1))
    assert all(clause.index(COMMA) == len(clause) - 1 for clause in bank.clauses)


@given(st.integers(0, 1023), st.integers(0, 20), st.integers(0, 2**64))
def test_a_clause_that_was_cut_goes_on_as_one_of_the_bank(place, cut, bits):
    bank = WORLD.writer.bank
    clause = bank.clauses[place]
    begun = clause[: min(cut, len(clause) - 1)]
    assert begun + bank.rest(begun, bits) in bank.clauses


def test_a_clause_is_as_likely_as_its_share_of_the_bank():
    bank = WORLD.writer.bank
    for clause in bank.clauses[:50]:
        assert sum(bank.logprobs(clause)) == pytest.approx(
            math.log(bank.clauses.count(clause) / ClauseBank.SIZE)
        )


def test_foreign_words_have_no_probability_to_speak_of_and_end_in_a_comma():
    foreign = encode("xyz")
    assert WORLD.writer.bank.logprobs(foreign) == [0.0, 0.0, 0.0]
    assert WORLD.writer.bank.rest(foreign, 1) == (COMMA,)
