import math

import pytest

from engines.base import EngineUnavailable, Sample
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
