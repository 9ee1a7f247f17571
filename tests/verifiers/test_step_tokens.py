import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import EngineError, EngineGarbage, EngineRefused, EngineUnavailable
from engines.transport import Transport
from tests.stand_ins import StandInProcessReward, serving
from tests.verifiers.scoring import MESSAGES
from verifiers.step_tokens import StepTokens, _parted, _without

HEAD = StandInProcessReward.head(MESSAGES)


@pytest.fixture
async def server():
    return StandInProcessReward()


@pytest.fixture
async def http(server):
    async with serving(server.app()) as url:
        transport = Transport(url)
        yield transport
        await transport.close()


async def test_plain_steps_follow_the_conversation_as_they_are(server, http):
    tokens = StepTokens("prm", http, "m")
    assert await tokens.learn(MESSAGES, ["ab\n\n", "c", "ab\n\n"]) == []
    assert tokens.ids(["ab\n\n", "c"]) == [*HEAD, *map(ord, "ab\n\nc")]
    assert tokens.ends(["ab\n\n", "c"]) == [len(HEAD) + 3, len(HEAD) + 4]
    assert tokens.ids(["not asked for"]) is None
    assert tokens.most == 4096
    assert len(server.asked("/tokenize")) == 3


async def test_marked_steps_of_a_wave_are_one_call_and_known_ones_none(server, http):
    tokens = StepTokens("prm", http, "m", "<+>")
    await tokens.learn(MESSAGES, ["ab\n\n", " c ", ""])
    assert tokens.ids(["ab\n\n", " c ", ""]) == [*HEAD, *map(ord, "ab"), 0, ord("c"), 0, 0]
    assert tokens.ends(["ab\n\n", " c ", ""]) == [len(HEAD) + 2, len(HEAD) + 4, len(HEAD) + 5]
    assert tokens.mark == 0
    await tokens.learn(MESSAGES, ["ab\n\n"])
    assert len(server.asked("/tokenize")) == 2
    await tokens.learn(MESSAGES, ["d", "ab\n\n"])
    assert server.asked("/tokenize")[-1]["prompt"] == "<+><+>d"


@pytest.mark.parametrize("text", ["a<+>b", "<+>ab", "a<<+>+>b", "<+><+>ab<+>"])
async def test_a_step_cannot_feign_another_by_spelling_the_token(http, text):
    tokens = StepTokens("prm", http, "m", "<+>")
    await tokens.learn(MESSAGES, [text, "c"])
    assert tokens.ids([text, "c"]) == [*HEAD, ord("a"), ord("b"), 0, ord("c"), 0]


@pytest.mark.parametrize("token", ["<extra_0>", "ab", "++"])
async def test_a_token_that_the_model_does_not_know_as_one_is_told(http, token):
    tokens = StepTokens("prm", http, "m", token)
    (failure,) = await tokens.learn(MESSAGES, ["x", "y"])
    assert isinstance(failure, EngineGarbage)
    assert token in str(failure)
    assert tokens.ids(["x"]) is None


async def test_a_step_that_fails_does_not_lose_the_others():
    class Failing:
        async def post(self, path, body):
            if body.get("prompt") == "bad":
                raise EngineUnavailable("The engine answered 500.")
            return b'{"tokens": [1], "max_model_len": 9}'

    tokens = StepTokens("prm", Failing(), "m")
    assert [str(f) for f in await tokens.learn(MESSAGES, ["good", "bad"])] == ["The engine answered 500."]
    assert tokens.ids(["good"]) == [1, 1]
    assert tokens.ids(["good", "bad"]) is None


async def test_a_conversation_that_cannot_be_tokenized_is_an_error():
    class Refusing:
        async def post(self, path, body):
            raise EngineRefused("no")

    with pytest.raises(EngineError):
        await StepTokens("prm", Refusing(), "m").learn(MESSAGES, ["a"])


@given(st.text("<+>a \n"))
def test_no_text_holds_the_token_once_it_is_taken_out(text):
    assert "<+>" not in _without("<+>", text)


@given(st.lists(st.lists(st.integers(1, 3)), min_size=1))
def test_parts_joined_by_a_mark_come_apart_again(parts):
    joined = [token for part in parts for token in (0, *part)][1:]
    assert _parted(joined, 0) == parts
