import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from budgets.fitting import VerifierFit
from budgets.score_evidence import score_evidence
from budgets.verifier_quality import Binormal, Empirical

MODEL = Binormal(0.8, -0.6, 1.1, 1.3)
SCORES = np.linspace(0.05, 0.95, 50)


def verifier(normal, squash=expit):
    rng = np.random.default_rng(5)
    drawn = [squash(rng.normal(*side, 3000)).tolist() for side in ((0.8, 1.1), (-0.6, 1.3))]
    return VerifierFit(Empirical(*map(tuple, drawn)), MODEL, MODEL.auc, 0.01, normal)


def log_ratio(x):
    return norm.logpdf(x, 0.8, 1.1) - norm.logpdf(x, -0.6, 1.3)


def test_a_normal_verifier_is_its_model():
    found = score_evidence(verifier(normal=True))
    assert found.of(SCORES) == pytest.approx(log_ratio(logit(SCORES)), abs=0.01)


def test_measured_scores_are_near_the_model_that_they_were_drawn_from():
    found = score_evidence(verifier(normal=False)).of(SCORES)
    assert (
        np.abs(found - log_ratio(logit(SCORES))).mean() < 0.12
    )  # each of 24 bins has some 125 of 3,000 scores


def test_scores_beyond_0_to_1_are_taken_for_logits():
    found = score_evidence(verifier(normal=True, squash=np.asarray))
    assert found.logits
    assert found.of(logit(SCORES)) == pytest.approx(log_ratio(logit(SCORES)), abs=0.01)


@pytest.mark.parametrize("normal", [True, False])
def test_no_score_outweighs_everything_and_none_says_nothing(normal):
    found = score_evidence(verifier(normal)).of(np.array([0.0, 1.0, math.nan]))
    assert np.abs(found).max() <= 7
    assert found[2] == 0


@pytest.mark.parametrize("normal", [True, False])
def test_scores_drawn_are_those_of_right_and_of_wrong_responses(normal):
    chance = (np.arange(10_000) + 0.5) / 10_000
    right = score_evidence(verifier(normal)).drawn(np.ones(10_000, bool), chance)
    wrong = score_evidence(verifier(normal)).drawn(np.zeros(10_000, bool), chance)
    for scores, mean, sd in ((right, 0.8, 1.1), (wrong, -0.6, 1.3)):
        assert logit(scores).mean() == pytest.approx(mean, abs=0.06)
        assert logit(scores).std() == pytest.approx(sd, rel=0.04)


def test_few_levels_are_kept_apart():
    """A judge that says 0 or 1: 90 of 100 right responses and 20 of 100 wrong ones have 1."""
    empirical = Empirical((1.0,) * 90 + (0.0,) * 10, (1.0,) * 20 + (0.0,) * 80)
    found = score_evidence(VerifierFit(empirical, Binormal(1, -1), 0.85, 0.02, False))
    assert found.of(np.array([0.0, 1.0])) == pytest.approx([math.log(11 / 81), math.log(91 / 21)])


def test_a_check_that_is_never_wrong():
    found = score_evidence(None)
    assert found.of(np.array([0.0, 1.0])) == pytest.approx([-20, 20])
    assert found.drawn(np.array([True, False]), np.array([0.3, 0.9])).tolist() == [1.0, 0.0]
