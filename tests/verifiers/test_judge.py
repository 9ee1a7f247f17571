import asyncio
import math

import pytest

from engines.base import Call, EngineUnavailable, Generation, Sample
from engines.scripted import ScriptedEngine
from tests.verifiers.scoring import MESSAGES, response
from verifiers.judge import Judge, probability_of_yes


def said(**probabilities: float) -> Sample:
    """A verdict's first token, with the probabilities of its alternatives."""
    top = {token.replace("_", " "): math.log(p) for token, p in probabilities.items()}
    return Sample(next(iter(top)), (1,), "length", 0.0, (top,))


async def test_scores_the_probability_of_yes_of_all_responses_in_one_call():
    engine = ScriptedEngine([said(_yes=0.6, _no=0.2), said(no=0.9, yes=0.1)])
    verdict = await Judge(engine).score(MESSAGES, [response("15"), response("14")])
    assert verdict.scores == (pytest.approx(0.75), pytest.approx(0.1))
    (call,) = engine.calls
    assert (len(call.prompts), call.n, call.max_tokens, call.logprobs) == (2, 1, 1, 20)
    asked = "".join(map(chr, call.prompts[0]))
    assert "What is 7 + 8?" in asked
    assert "15" in asked
    assert verdict.generated == 2
    assert verdict.read == sum(map(len, call.prompts))
    assert verdict.warnings == ()


def test_all_spellings_of_yes_and_no_count():
    assert probability_of_yes(said(Yes=0.3, _YES=0.2, No=0.25, maybe=0.2)) == pytest.approx(0.5 / 0.75)
    assert probability_of_yes(said(maybe=1.0)) is None
    assert probability_of_yes(None) is None


async def test_a_verdict_that_names_neither_is_asked_for_again_by_schema_and_counted():
    engine = ScriptedEngine([said(Well=0.9), said(yes=1.0), '{"verdict": "no"}'])
    verdict = await Judge(engine).score(MESSAGES, [response("14"), response("15")])
    assert verdict.scores == (0.0, 1.0)
    first, again = engine.calls
    assert len(again.prompts) == 1
    assert again.sampling["structured_outputs"]["json"]["required"] == ["verdict"]
    assert "1 of 2 responses" in verdict.warnings[0]
    assert verdict.generated == 2 + len('{"verdict": "no"}') <= 2 * Judge(engine).max_tokens
    assert verdict.read == sum(map(len, first.prompts)) + len(again.prompts[0])


async def test_generates_no_more_than_it_says():
    engine = ScriptedEngine([said(Well=0.9), "x" * 100])
    verdict = await Judge(engine).score(MESSAGES, [response("14")])
    assert verdict.scores == (None,)
    assert verdict.generated <= Judge(engine).max_tokens


async def test_an_engine_that_fails_is_an_engine_error():
    with pytest.raises(EngineUnavailable):
        await Judge(ScriptedEngine([EngineUnavailable("down")])).score(MESSAGES, [response("14")])


async def test_a_second_call_that_fails_leaves_the_scores_of_the_first():
    engine = ScriptedEngine([said(Well=0.9), said(yes=1.0), EngineUnavailable("It is down.")])
    verdict = await Judge(engine).score(MESSAGES, [response("14"), response("15")])
    assert verdict.scores == (None, 1.0)
    assert verdict.generated == 2
    assert verdict.warnings == ("The judge gave 1 of 2 responses no score: It is down.",)


async def test_responses_too_long_for_the_context_are_left_out():
    engine = ScriptedEngine([said(yes=1.0)], context=500)
    verdict = await Judge(engine).score(MESSAGES, [response("14" * 500), response("15")])
    assert verdict.scores == (None, 1.0)
    assert "1 of 2 responses are too long" in verdict.warnings[0]
    verdict = await Judge(engine).score(MESSAGES, [response("14" * 500)])
    assert (verdict.scores, verdict.generated) == ((None,), 0)


async def test_a_prompt_with_no_room_for_a_second_verdict_is_asked_once():
    length = len(await _asked("14"))
    verdict = await Judge(ScriptedEngine([said(Well=1.0)], context=length + 1)).score(
        MESSAGES, [response("14")]
    )
    assert (verdict.scores, verdict.generated) == ((None,), 1)


async def _asked(text: str) -> tuple[int, ...]:
    engine = ScriptedEngine([said(yes=1.0)])
    await Judge(engine).score(MESSAGES, [response(text)])
    return engine.calls[0].prompts[0]


async def test_calls_go_by_their_conversation():
    engine = ScriptedEngine([said(yes=1.0)] * 3)
    other = ({"role": "user", "content": "What is 7 + \ud800?"},)
    for messages, text in ((MESSAGES, "15"), (MESSAGES, "14"), (other, "15")):
        await Judge(engine).score(messages, [response(text)])
    first, same, another = (call.affinity for call in engine.calls)
    assert first == same != another


class _SlowSecondCall(ScriptedEngine):
    async def sample(self, call: Call) -> Generation:
        if self.calls:
            await asyncio.Event().wait()
        return await super().sample(call)


async def test_time_that_runs_out_leaves_the_scores_so_far_and_charges_the_call_it_cut():
    engine = _SlowSecondCall([said(Well=0.9), said(yes=1.0)])
    verdict = await Judge(engine).score(MESSAGES, [response("14"), response("15")], seconds=0.05)
    assert verdict.scores == (None, 1.0)
    assert verdict.generated == 2 + Judge(engine).max_tokens - 1
    assert verdict.warnings == ("The judge did not score 1 of 2 responses in time.",)
