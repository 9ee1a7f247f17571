import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import beta as beta_distribution
from scipy.stats import norm

from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit, VerifierFit, WrongAnswersFit
from budgets.posterior import MOST_EVIDENCE, SPEAKING, Evidence, posterior, vote_weights
from budgets.uncertainty import FittedTask
from budgets.verifier_quality import Binormal, Empirical
from budgets.wrong_answers import Partitions, WrongAnswers

BETA, WRONG = Beta(0.7, 1.3), WrongAnswers(4.0, 0.2)
NORMAL = Binormal(0.8, -0.6, 1.1, 1.3)


def verifier(normal=True, empirical=None):
    rng = np.random.default_rng(5)
    drawn = Empirical(
        tuple(expit(rng.normal(0.8, 1.1, 3000)).tolist()), tuple(expit(rng.normal(-0.6, 1.3, 3000)).tolist())
    )
    return VerifierFit(empirical or drawn, NORMAL, NORMAL.auc, 0.01, normal)


def fitted(beta=BETA, wrong=WRONG, quality=None, right_reach=1.0, wrong_reach=1.0):
    difficulty = DifficultyFit(beta, ((0.01, 0.0), (0.0, 0.01)))
    return FittedTask(difficulty, WrongAnswersFit(wrong, 0.1), quality, right_reach, wrong_reach)


def by_quadrature(task, evidence):
    """P(answer j is right), then P(none is), from the likelihood as it is defined, p integrated numerically."""
    beta, wrong = task.difficulty.beta, task.wrong.wrong
    prior = beta_distribution(beta.a, beta.b)
    mean = sum(share * chance for share, chance in SPEAKING)

    def chance(right, others, ratio):
        def density(p):
            found = 0.0
            for share, chance in SPEAKING:
                reach, lost = (min(1, share * part / mean) for part in (task.right_reach, task.wrong_reach))
                votes = (p * reach) ** right * ((1 - p) * lost) ** sum(others)
                found += chance * votes * (1 - p * reach - (1 - p) * lost) ** evidence.silent
            return prior.pdf(p) * found

        inside, _ = quad(density, 0, 1, epsabs=0, epsrel=1e-9, limit=400)
        together = (
            Partitions.of([others]).log_likelihood(wrong.concentration, wrong.discount) if others else 0.0
        )
        return inside * math.exp(together + ratio)

    votes, scores = evidence.votes, evidence.scores or ((),) * len(evidence.votes)
    found = [
        chance(vote, [*votes[:j], *votes[j + 1 :]], sum(log_ratio(s) for s in scores[j] if s is not None))
        for j, vote in enumerate(votes)
    ]
    found.append(chance(0, list(votes), 0.0))
    return np.array(found) / sum(found)


def log_ratio(score):
    x = logit(score)
    return norm.logpdf(x, NORMAL.mean_right, NORMAL.sd_right) - norm.logpdf(
        x, NORMAL.mean_wrong, NORMAL.sd_wrong
    )


@pytest.mark.parametrize("wrong", [WrongAnswers(4.0, 0.2), WrongAnswers(1.5), WrongAnswers.even(6, 0.7)])
@pytest.mark.parametrize("votes", [(1,), (4,), (1, 1, 1), (3, 1), (2, 5, 1, 1)])
@pytest.mark.parametrize("silent", [0, 3])
def test_weights_are_the_defining_integral(wrong, votes, silent):
    task = fitted(Beta(1.7, 2.3), wrong, right_reach=0.95, wrong_reach=0.6)
    evidence = Evidence(votes, silent=silent)
    found = posterior(task, evidence)
    assert [*found.right, found.none] == pytest.approx(by_quadrature(task, evidence), rel=1e-6)


def test_scores_count_by_the_ratio_of_their_densities():
    evidence = Evidence((2, 1, 1), ((0.7, None), (0.9,), (0.2,)))
    task = fitted(Beta(1.7, 2.3), quality=verifier())
    found = posterior(task, evidence)
    assert [*found.right, found.none] == pytest.approx(by_quadrature(task, evidence), rel=2e-3)


def test_a_check_that_is_never_wrong_decides():
    found = posterior(fitted(), Evidence((3, 1), ((0.0, 0.0, 0.0), (1.0,))))
    assert found.right[1] > 0.999
    assert posterior(fitted(), Evidence((3,), ((0.0, 0.0, 0.0),))).right[0] < 1e-3


def test_simulated_prompts_with_these_votes_have_this_answer_right():
    """Prompts drawn at random; those whose votes fall out as 2, 1, 1 are kept, and counted by which is right."""
    rng, prompts, answers = np.random.default_rng(11), 400_000, 4
    task = fitted(Beta(1.2, 2.0), WrongAnswers.even(answers, 0.8))
    p = rng.beta(1.2, 2.0, prompts)
    shares = np.cumsum(rng.dirichlet(np.full(answers, 0.8), prompts), axis=1)
    right = rng.random((prompts, 4)) < p[:, None]
    pick = np.minimum((rng.random((prompts, 4))[:, :, None] >= shares[:, None, :]).sum(axis=2), answers - 1)
    counts = (np.where(right, 0, 1 + pick)[:, :, None] == np.arange(answers + 1)).sum(axis=1)
    kept = (np.sort(counts, axis=1)[:, -3:] == [1, 1, 2]).all(axis=1)
    found = posterior(task, Evidence((2, 1, 1)))
    of_two, of_one, unseen = (float((counts[kept, 0] == votes).mean()) for votes in (2, 1, 0))
    assert kept.sum() > 50_000
    assert found.right[0] == pytest.approx(of_two, abs=0.008)
    assert found.right[1] + found.right[2] == pytest.approx(of_one, abs=0.008)
    assert found.none == pytest.approx(unseen, abs=0.008)
    mean = float((p[kept]).mean())
    assert found.mean == pytest.approx(mean, abs=0.005)


def test_all_sequences_of_three_samples_share_out_the_prior():
    """Over everything that may be seen, the chance that the right answer is among it is what p alone says."""
    task = fitted(Beta(1.2, 2.0), WrongAnswers.even(2, 0.8))
    seen = total = 0.0
    for sequence in product(range(3), repeat=3):
        counts = [sequence.count(answer) for answer in range(3)]
        p = Partitions.of([[c for c in counts[1:] if c]]).log_likelihood(1.6, -0.8)
        labels = 2 if any(counts[1:]) else 1  # each of the two is as likely to be the one named first
        if counts[1] and counts[2]:
            labels = 2
        chance = beta_moment(1.2, 2.0, counts[0], 3 - counts[0]) * math.exp(p) / labels
        votes = tuple(c for c in counts if c)
        found = posterior(task, Evidence(votes))
        total += chance
        seen += chance * sum(found.right)
    assert total == pytest.approx(1, abs=1e-9)
    assert seen == pytest.approx(1 - beta_moment(1.2, 2.0, 0, 3), abs=1e-9)


def beta_moment(a, b, right, wrong):
    return math.exp(
        math.lgamma(a + right) + math.lgamma(b + wrong) - math.lgamma(a + b + right + wrong)
        + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    )  # fmt: skip


votes = st.lists(st.integers(1, 6), min_size=0, max_size=6).map(tuple)
tasks = st.builds(
    fitted,
    st.builds(Beta, st.floats(0.1, 20), st.floats(0.1, 20)),
    st.builds(WrongAnswers, st.floats(0.2, 50), st.floats(0, 0.8)),
    st.sampled_from([verifier(), verifier(normal=False)]),
    st.floats(0.3, 1),
    st.floats(0.3, 1),
)


@settings(deadline=None)
@given(tasks, votes, st.integers(0, 30))
def test_weights_and_mixture_add_up_to_one(task, votes, silent):
    found = posterior(task, Evidence(votes, silent=silent))
    assert sum(found.right) + found.none == pytest.approx(1, abs=1e-9)
    assert sum(weight for weight, _ in found.difficulty) == pytest.approx(1, abs=1e-6)
    assert 0 <= found.mean <= 1 + 1e-9


@settings(deadline=None)
@given(votes.filter(len), st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0, 20), st.data())
def test_one_more_vote_never_makes_an_answer_less_likely(votes, a, b, more, data):
    """Where wrong samples repeat an answer less readily than right ones do: concentration ≥ b, discount ≥ -a."""
    task = fitted(Beta(a, b), WrongAnswers(b + more))
    place = data.draw(st.integers(0, len(votes) - 1))
    after = tuple(vote + (i == place) for i, vote in enumerate(votes))
    before, now = posterior(task, Evidence(votes)), posterior(task, Evidence(after))
    assert now.right[place] >= before.right[place] - 1e-9


@settings(deadline=None)
@given(tasks, votes.filter(len), st.integers(1, 50))
def test_the_order_of_answers_does_not_matter(task, votes, seed):
    order = np.random.default_rng(seed).permutation(len(votes))
    found, moved = posterior(task, Evidence(votes)), posterior(task, Evidence(tuple(votes[i] for i in order)))
    assert moved.right == pytest.approx([found.right[i] for i in order], abs=1e-9)


@settings(deadline=None)
@given(votes.filter(len), st.floats(0.05, 0.9), st.floats(0.01, 0.09), st.data())
def test_a_better_score_makes_an_answer_likelier_where_spreads_are_equal(votes, score, by, data):
    equal = VerifierFit(verifier().empirical, Binormal(0.7, -0.7), 0.84, 0.01, True)
    place = data.draw(st.integers(0, len(votes) - 1))

    def scored(value):
        scores = [[0.5] * vote for vote in votes]
        scores[place][0] = value
        return posterior(fitted(quality=equal), Evidence(votes, tuple(map(tuple, scores)))).right[place]

    assert scored(score + by) >= scored(score) - 1e-9


def test_silent_samples_say_nothing_where_right_and_wrong_ones_are_silent_alike():
    alike = fitted(right_reach=0.7, wrong_reach=0.7)
    some, none = posterior(alike, Evidence((2, 1), silent=20)), posterior(alike, Evidence((2, 1)))
    assert some.right == pytest.approx(none.right, rel=1e-9)
    assert some.mean == pytest.approx(none.mean, rel=1e-9)
    cut = fitted(right_reach=0.95, wrong_reach=0.5)
    assert posterior(cut, Evidence((), silent=3)).mean < 0.6 * posterior(cut, Evidence(())).mean


def test_a_prompt_all_of_whose_samples_are_silent_is_mute_rather_than_hard_or_easy():
    for cut in (fitted(right_reach=0.95, wrong_reach=0.6), fitted(right_reach=0.6, wrong_reach=1.0)):
        assert posterior(cut, Evidence((), silent=200)).mean == pytest.approx(BETA.mean, rel=0.01)


@settings(deadline=None)
@given(tasks, st.integers(0, 5), st.integers(0, 5), st.integers(0, 30))
def test_cases_add_up_to_one_and_reach_the_task_s_share_on_average(task, right, wrong, silent):
    weights = vote_weights(task, 64)
    assert sum(case.weight for case in weights.cases(right, wrong, silent)) == pytest.approx(1, abs=1e-6)
    reach = sum(case.weight * case.right_reach for case in weights.cases(0, 0, 0))
    most = sum(share * chance for share, chance in SPEAKING)
    assert reach == pytest.approx(task.right_reach, abs=1 - most)
    assert task.right_reach > most or reach == pytest.approx(task.right_reach)


@settings(deadline=None)
@given(tasks, votes.filter(len))
def test_where_every_sample_answered_what_may_silence_a_prompt_changes_nothing(task, votes):
    """With no sample silent and right and wrong ones heard alike, only the votes count."""
    alike = replace(task, wrong_reach=task.right_reach)
    certain = replace(task, right_reach=1.0, wrong_reach=1.0)
    assert posterior(alike, Evidence(votes)).right == pytest.approx(posterior(certain, Evidence(votes)).right)
    assert posterior(certain, Evidence(votes)).mean == pytest.approx(posterior(alike, Evidence(votes)).mean)


def test_many_silent_samples_are_the_defining_integral_too():
    task = fitted(Beta(1.7, 2.3), right_reach=0.95, wrong_reach=0.6)
    evidence = Evidence((3, 2, 1), silent=40)
    found = posterior(task, evidence)
    assert [*found.right, found.none] == pytest.approx(by_quadrature(task, evidence), rel=1e-6)


def test_more_answers_than_there_are_do_no_harm():
    few = fitted(wrong=WrongAnswers.even(2, 1.0))
    found = posterior(few, Evidence((2, 1, 1)))
    assert sum(found.right) == pytest.approx(1, abs=1e-6)
    assert sum(posterior(few, Evidence((1, 1, 1, 1, 1))).right) == pytest.approx(1, abs=1e-6)


def test_nothing_seen_is_the_prior():
    found = posterior(fitted(), Evidence(()))
    assert (found.right, found.none, found.difficulty) == ((), 1.0, ((1.0, Beta(0.7, 1.3)),))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"votes": (0,)}, "votes"),
        ({"votes": (2, -1)}, "votes"),
        ({"votes": (1.5,)}, "votes"),
        ({"votes": (1,), "silent": -1}, "silent"),
        ({"votes": (2,), "scores": ((0.1,),)}, "scores"),
        ({"votes": (1, 1), "scores": ((0.1,),)}, "scores"),
        ({"votes": (1,), "scores": ((math.nan,),)}, "scores"),
        ({"votes": (1,), "scores": ((math.inf,),)}, "scores"),
        ({"votes": (MOST_EVIDENCE,), "silent": 1}, "votes"),
    ],
)
def test_bad_evidence_is_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        Evidence(**wrong)
