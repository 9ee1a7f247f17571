import asyncio
from collections.abc import Sequence

from tests.verifiers.scoring import MESSAGES, response
from verifiers.answers import make_answers
from verifiers.exact import Exact
from verifiers.formats.pattern import RegexAnswers
from verifiers.workers import Workers


async def test_scores_one_where_the_answer_is_the_reference_under_the_format():
    answers = make_answers("number", workers=Workers())
    given = ["It is 1,000.", "1001", "no idea"]
    canonical = await answers.canonical(given)
    responses = [response(text, answer) for text, answer in zip(given, canonical, strict=True)]
    verdict = await Exact(answers, "#### 1000.0").score(MESSAGES, responses)
    assert verdict.scores == (1.0, 0.0, 0.0)


class _Waiting(RegexAnswers):
    async def matches(self, answers: Sequence[str | None], reference: str) -> list[bool]:
        await asyncio.Event().wait()
        return []


async def test_answers_that_are_not_compared_in_time_have_no_score():
    slow = Exact(_Waiting("a", 0, Workers()), "a")
    verdict = await slow.score(MESSAGES, [response("a", "a")], seconds=0.01)
    assert verdict.scores == (None,)
    assert verdict.warnings == ("exact scored no response in time.",)
