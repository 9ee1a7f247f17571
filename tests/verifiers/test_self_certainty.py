import math

import pytest

from tests.verifiers.scoring import MESSAGES, response
from verifiers.exact import Exact
from verifiers.judge import Judge
from verifiers.outcome_reward import OutcomeReward
from verifiers.self_certainty import SelfCertainty


async def test_scores_the_geometric_mean_of_the_tokens_probabilities():
    verdict = await SelfCertainty().score(
        MESSAGES, [response("ab", logprob=2 * math.log(0.25)), response("abcd", logprob=0.0)]
    )
    assert verdict.scores == (pytest.approx(0.25), 1.0)
    assert (verdict.read, verdict.generated) == (0, 0)


async def test_a_longer_response_is_not_punished_for_its_length():
    sure = math.log(0.9)
    verdict = await SelfCertainty().score(
        MESSAGES, [response("ab", logprob=2 * sure), response("abcd", logprob=4 * sure)]
    )
    assert verdict.scores[0] == pytest.approx(verdict.scores[1])


async def test_no_tokens_and_no_logprobs_have_no_score():
    verdict = await SelfCertainty().score(MESSAGES, [response("", logprob=0.0), response("ab")])
    assert verdict.scores == (None, None)


def test_only_what_waits_on_nothing_is_instant():
    assert SelfCertainty.instant
    assert not any(verifier.instant for verifier in (Exact, Judge, OutcomeReward))
