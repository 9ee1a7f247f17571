from tests.verifiers.scoring import MESSAGES, response
from verifiers.answers import make_answers
from verifiers.exact import Exact
from verifiers.workers import Workers


async def test_scores_one_where_the_answer_is_the_reference_under_the_format():
    answers = make_answers("number", workers=Workers())
    given = ["It is 1,000.", "1001", "no idea"]
    canonical = await answers.canonical(given)
    responses = [response(text, answer) for text, answer in zip(given, canonical, strict=True)]
    verdict = await Exact(answers, "#### 1000.0").score(MESSAGES, responses)
    assert verdict.scores == (1.0, 0.0, 0.0)
