import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from budgets import voting
from budgets.curves import Curve
from budgets.difficulty import Beta
from budgets.first_accepted import best_most, ceiling
from budgets.fitting import DifficultyFit, WrongAnswersFit, fit_verifier
from budgets.hardware import find_hardware
from budgets.latency import Factors
from budgets.length_fitting import LengthFit
from budgets.lengths import LogNormal
from budgets.models import ModelShape
from budgets.prediction import Options, expected_accuracy
from budgets.profiles import Profile
from budgets.recommend import Caps, Offer, VerifierOffer, Wanted, recommend, warm
from budgets.tariff import Tariff
from budgets.uncertainty import accuracies
from budgets.voting import EXACT_ANSWERS, average_wins, majority_wins
from budgets.wrong_answers import WrongAnswers

SMALL = ModelShape(0.6e9, 0.6e9, num_layers=28, num_attention_heads=16, num_kv_heads=8, head_dim=128)
LARGE = ModelShape(8.2e9, 7.6e9, num_layers=36, num_attention_heads=32, num_kv_heads=8, head_dim=128)
GPU = find_hardware("h100-sxm")
LEARNED = Factors(1.1, 1.2, (0.01, 0.0, 0.01), 0.01, 100)
KNOWN = DifficultyFit(Beta(0.8, 1.2), ((0.01, 0.0), (0.0, 0.03)))
HAIR = 0.002


@cache
def verifier(apart, noise=1.0):
    rng = np.random.default_rng(7)
    right = [expit(rng.normal(apart / 2, 1.0, 8)).tolist() for _ in range(60)]
    wrong = [expit(rng.normal(-apart / 2, noise, 8)).tolist() for _ in range(60)]
    return fit_verifier(right, wrong)


def profile(difficulty=KNOWN, apart=1.5, noise=1.0, median=300.0):
    lengths = LogNormal(math.log(median), 0.5)
    return Profile(
        difficulty,
        WrongAnswersFit(WrongAnswers.even(12, 0.5), 0.1),
        LengthFit(lengths, lengths, 0.4, 0.02, 0.02),
        {"prm": verifier(apart, noise)},
        source="calibrated",
        problems=200,
        samples=3200,
        alike=0.0,
    )


def tariff(shape=SMALL, usd=2.0):
    return Tariff(shape, GPU, usd, 8, LEARNED)


PRM = VerifierOffer("prm", tariff())
EXACT = VerifierOffer("exact", None, free=True)


def offer(**changes):
    given = {"model": "small", "profile": profile(), "tariff": tariff(), "prompt_tokens": 200, "room": 4000}
    return Offer(**{**given, "verifiers": (PRM,), **changes})


def spend(choice):
    found = choice.predicted
    return {
        unit: getattr(found, unit) for unit in ("tokens", "eflops", "seconds", "usd") if getattr(found, unit)
    }


caps = st.builds(
    Caps,
    samples=st.none() | st.integers(1, 40),
    tokens=st.none() | st.floats(300, 20_000),
    eflops=st.none() | st.floats(3e13, 1e15),
    seconds=st.none() | st.floats(0.5, 10),
    usd=st.none() | st.floats(3e-5, 1e-3),
).filter(lambda found: found.given())


@settings(max_examples=40, deadline=None)
@given(caps=caps, target=st.none() | st.floats(0.2, 1.0))
def test_the_predicted_means_fit_every_cap_and_the_frontier_rises(caps, target):
    given = caps.given()
    found = recommend([offer()], Wanted(caps, target_accuracy=target, most_samples=40))
    for choice in (found.choice, *found.frontier):
        assert choice.plan.samples <= given.get("samples", 40)
        for unit, cost in spend(choice).items():
            assert cost.value <= given.get(unit, math.inf) * (1 + 1e-6)
            assert cost.low <= cost.value <= cost.high
        assert (
            choice.predicted.accuracy.low <= choice.predicted.accuracy.value <= choice.predicted.accuracy.high
        )
    costs = [choice.predicted.usd.value for choice in found.frontier]
    right = [choice.predicted.accuracy.value for choice in found.frontier]
    assert found.choice in found.frontier
    assert all(np.diff(costs) > 0)
    assert all(np.diff(right) > 0)


@settings(max_examples=40, deadline=None)
@given(
    unit=st.sampled_from(["samples", "tokens", "eflops", "seconds", "usd"]),
    share=st.floats(0.01, 1.0),
    factor=st.floats(1.0, 10.0),
)
def test_a_larger_budget_never_lowers_the_predicted_accuracy(unit, share, factor):
    most = {"samples": 40, "tokens": 15_000, "eflops": 6e14, "seconds": 6.0, "usd": 4e-4}[unit]
    caps = [most * share, most * share * factor]
    if unit == "samples":
        caps = [max(1, round(cap)) for cap in caps]
    wished = [Wanted(Caps(**{unit: cap}), most_samples=40) for cap in caps]
    try:
        low = recommend([offer()], wished[0])
    except ValueError:
        return  # too small for any plan: tested below
    high = recommend([offer()], wished[1])
    # Within a hair the cheaper plan is taken.
    assert high.choice.predicted.accuracy.value >= low.choice.predicted.accuracy.value - HAIR


@settings(max_examples=40, deadline=None)
@given(target=st.floats(0.05, 1.0), samples=st.integers(1, 40), b=st.floats(0.3, 3.0))
def test_a_target_is_reached_by_the_cheapest_plan_or_warned_of(target, samples, b):
    known = offer(profile=profile(replace(KNOWN, beta=Beta(0.8, b))))
    found = recommend([known], Wanted(Caps(samples=samples), target_accuracy=target, most_samples=40))
    best = recommend([known], Wanted(Caps(samples=samples), most_samples=40))
    warned = any(f"target of {100 * target:.1f} %" in warning for warning in found.warnings)
    if found.choice.predicted.accuracy.value >= target:
        assert not warned
        cheaper = [each for each in (*found.frontier, *best.frontier, best.choice)
                   if each.predicted.usd.value < found.choice.predicted.usd.value]  # fmt: skip
        assert all(each.predicted.accuracy.value < target for each in cheaper)
    else:
        assert warned
        assert best.choice.predicted.accuracy.value < target + HAIR
        assert found.choice == best.choice


def test_predictions_are_those_of_the_accuracy_functions():
    found = recommend([offer()], Wanted(Caps(samples=24)))
    assert len({choice.plan.strategy for choice in found.frontier}) > 1
    for choice in found.frontier:
        plan = choice.plan
        known = {name: value for name, value in plan.params.items() if name != "stop"}
        fitted = profile().fitted(plan.verifier, plan.max_tokens)
        exact = accuracies(plan.strategy, fitted, [plan.samples], Options(**known))
        got = choice.predicted.accuracy
        assert [got.value, got.low, got.high] == pytest.approx(
            [exact.value[0], exact.low[0], exact.high[0]], abs=0.002
        )


def test_a_single_sample_costs_what_the_tariff_says():
    found = recommend([offer(verifiers=())], Wanted(Caps(samples=1)))
    plan, predicted = found.choice.plan, found.choice.predicted
    assert (plan.strategy, plan.samples, plan.verifier, plan.params) == (
        "majority",
        1,
        None,
        {"stop": "never"},
    )
    charge = tariff().charge(200, [(1, predicted.tokens.value)])
    assert predicted.tokens.value == pytest.approx(
        float(profile().lengths.right.tokens(plan.max_tokens)), rel=0.01
    )
    assert predicted.eflops.value == pytest.approx(charge.eflops)
    assert predicted.seconds.value == pytest.approx(charge.seconds)
    assert predicted.usd.value == pytest.approx(charge.usd)
    assert predicted.accuracy.value == pytest.approx(0.4, abs=HAIR)


def test_repeated_sampling_with_a_certain_check_is_charged_for_the_waves_it_is_expected_to_draw():
    found = recommend([offer(tariff=None, verifiers=(EXACT,), room=300)], Wanted(target_accuracy=0.5))
    plan, predicted = found.choice.plan, found.choice.predicted
    assert (plan.strategy, plan.verifier) == ("repeated_sampling", "exact")
    rng = np.random.default_rng(1)
    lengths = np.exp(rng.normal(math.log(300), 0.5, (100_000, plan.samples)))
    right = (rng.random(lengths.shape) < rng.beta(0.8, 1.2, (100_000, 1))) & (lengths <= plan.max_tokens)
    cut = np.minimum(lengths, plan.max_tokens)
    # Waves of 1, 2, 4, …; when one of a wave is right, what of it still runs is cancelled.
    spent, going, drawn, size = np.zeros(100_000), np.ones(100_000, bool), 0, 1
    while drawn < plan.samples:
        wave = slice(drawn, min(plan.samples, drawn + size))
        first = np.where(right[:, wave], cut[:, wave], math.inf).min(axis=1)
        spent += going * np.minimum(cut[:, wave], first[:, None]).sum(axis=1)
        going &= ~right[:, wave].any(axis=1)
        drawn, size = drawn + size, 2 * size
    each = float(cut.mean())
    assert plan.samples >= 2
    assert float(spent.mean()) <= predicted.tokens.value * 1.005
    assert predicted.tokens.value == pytest.approx(float(spent.mean()), rel=0.1)
    assert predicted.accuracy.value == pytest.approx(1 - float(going.mean()), abs=0.005)
    # At the least it stops after the first, at the most nothing is accepted.
    assert predicted.tokens.low < each
    assert predicted.tokens.high > plan.samples * each


def test_a_free_certain_check_beats_everything_for_less():
    found = recommend([offer(verifiers=(PRM, EXACT))], Wanted(Caps(samples=32)))
    assert found.choice.plan.strategy == "repeated_sampling"
    assert found.choice.plan.verifier == "exact"
    assert not any("accepts" in warning for warning in found.warnings)


def test_no_verifier_offered_means_none_used():
    found = recommend([offer(verifiers=())], Wanted(Caps(samples=32)))
    assert {choice.plan.verifier for choice in (found.choice, *found.frontier)} == {None}
    assert {choice.plan.strategy for choice in found.frontier} == {"majority"}
    assert "No verifier was offered, so samples vote." in found.reasons


def test_a_verifier_that_costs_more_than_it_brings_is_left_out_and_it_is_said_why():
    poor = profile(apart=0.05)
    judge = VerifierOffer("prm", tariff(LARGE), generates=400)
    found = recommend([offer(profile=poor, verifiers=(judge,))], Wanted(Caps(usd=3e-4)))
    assert found.choice.plan.verifier is None
    assert any("A verifier is not worth its cost" in reason for reason in found.reasons)


def test_a_verdict_that_is_generated_counts_among_the_tokens():
    silent, talking = (
        recommend(
            [offer(verifiers=(replace(PRM, generates=tokens),))], Wanted(Caps(samples=8), most_samples=8)
        ).choice
        for tokens in (0, 21)
    )
    assert silent.plan == talking.plan
    assert silent.plan.verifier == "prm"
    more = talking.predicted.tokens.value - silent.predicted.tokens.value
    assert more == pytest.approx(21 * silent.plan.samples)


def test_of_two_models_the_one_that_is_worth_its_price_is_taken():
    strong = offer(model="large", profile=profile(replace(KNOWN, beta=Beta(3.0, 1.0))), tariff=tariff(LARGE))
    cheap = recommend([offer(), strong], Wanted(target_accuracy=0.3))
    good = recommend([offer(), strong], Wanted(Caps(samples=1)))
    assert cheap.choice.plan.model == "small"
    assert good.choice.plan.model == "large"
    assert any(reason.startswith("small would be right in") for reason in good.reasons)


def test_a_hint_moves_the_accuracy_and_says_what_it_took():
    easy, plain, hard = (
        recommend([offer()], Wanted(Caps(samples=1), difficulty=hint)) for hint in (0.1, None, 0.9)
    )
    values = [each.choice.predicted.accuracy.value for each in (easy, plain, hard)]
    assert values[0] > values[1] + 0.2 > values[2] + 0.4
    assert any(reason.startswith("At a difficulty of 0.9") for reason in hard.reasons)


def test_too_short_a_room_cuts_responses_and_lowers_the_accuracy():
    found = recommend([offer(room=300)], Wanted(Caps(samples=1)))
    assert found.choice.plan.max_tokens == 300
    assert found.choice.predicted.accuracy.value == pytest.approx(0.2, abs=0.001)
    assert found.choice.predicted.tokens.high <= 300
    assert any("Of right responses 50.0 % end within 300 tokens" in reason for reason in found.reasons)


def test_a_token_budget_below_one_response_still_gets_a_plan_and_a_warning():
    found = recommend([offer()], Wanted(Caps(tokens=150)))
    assert (found.choice.plan.samples, found.choice.plan.max_tokens) == (1, 144)  # an eighth of 128 at a time
    assert found.choice.predicted.tokens.value <= 150
    assert any("leans on the tail" in warning for warning in found.warnings)


@pytest.mark.parametrize("cap", [{"tokens": 60.0}, {"eflops": 3e11}, {"usd": 1e-7}])
def test_a_budget_too_small_for_an_answer_is_refused_with_one_that_is_not(cap):
    [unit] = cap
    with pytest.raises(ValueError, match=rf"budget\.{unit} of .* is too small for an answer") as refused:
        recommend([offer()], Wanted(Caps(**cap)))
    enough = float(str(refused.value).partition("ended, ")[2].partition(" are spent")[0].replace(",", ""))
    found = recommend([offer()], Wanted(Caps(**{unit: 1.01 * enough})))
    assert found.choice.predicted.accuracy.value > 0.1


def test_where_responses_are_cut_the_longest_that_fits_is_drawn_once_and_the_reasons_agree():
    found = recommend([offer()], Wanted(Caps(tokens=104.0)))
    assert (found.choice.plan.samples, found.choice.plan.max_tokens) == (1, 104)
    told = " ".join((*found.reasons, *found.warnings))
    assert "longer ones do not fit budget.tokens" in told
    assert not any(words in told for words in ("cost more than they gain", "add 0.0", "Past saturation"))


def test_what_nobody_measured_is_left_out_where_another_model_was_measured():
    guess = offer(model="unknown", profile=Profile.prior())
    found = recommend([guess, offer()], Wanted(Caps(samples=8), most_samples=8))
    assert {choice.plan.model for choice in (found.choice, *found.frontier)} == {"small"}
    assert found.warnings[0].startswith("unknown was left out")
    assert "--model unknown" in found.warnings[0]
    alone = recommend([guess], Wanted(Caps(samples=8), most_samples=8))
    assert alone.choice.plan.model == "unknown"


def test_verdicts_alone_are_told_apart_from_measurements():
    moved = offer(profile=replace(Profile.prior(), feedback=3))
    found = recommend([moved], Wanted(Caps(samples=4), most_samples=4))
    assert "Nothing of small was measured" in found.warnings[0]
    assert "only 3 verdicts" in found.warnings[0]


def test_a_single_sample_needs_no_verifier_that_is_free():
    free = VerifierOffer("prm", None, free=True)
    found = recommend([offer(verifiers=(free,))], Wanted(Caps(samples=1)))
    assert {choice.plan.verifier for choice in (found.choice, *found.frontier)} == {None}


def test_the_axis_is_the_first_cost_that_all_models_have():
    unpriced = offer(model="unpriced", tariff=tariff(usd=None))
    wanted = Wanted(Caps(samples=4), most_samples=4)
    bare = offer(tariff=None, verifiers=())
    assert [recommend(each, wanted).axis for each in ([offer()], [offer(), unpriced], [bare])] == [
        "usd", "eflops", "tokens"
    ]  # fmt: skip


@pytest.mark.parametrize("k", [2, 4, 16, 128])
def test_many_answers_ask_for_few_and_small_tables(monkeypatch, k):
    answers, worked_out = [], []
    beaten, row = WrongAnswers.beaten, Curve._row

    def counted(self, below, most=0, above=None, last=None):
        answers.append(most)
        return beaten(self, below, most, above, last)

    def counting(self, samples):
        worked_out.append(samples)
        return row(self, samples)

    monkeypatch.setattr(WrongAnswers, "beaten", counted)
    monkeypatch.setattr(Curve, "_row", counting)
    fresh = WrongAnswersFit(WrongAnswers.even(11, 0.31 + k / 1000), 0.1)
    found = recommend([offer(profile=replace(profile(), wrong=fresh))], Wanted(Caps(samples=256), k=k))
    assert found.choice.plan.samples >= k
    assert 0 < len(worked_out) < 400
    assert max(answers, default=0) < EXACT_ANSWERS


@pytest.mark.parametrize("wrong", [WrongAnswers(4.7), WrongAnswers.even(12, 0.4), WrongAnswers(1.5, 0.3)])
def test_votes_for_more_answers_than_are_counted_exactly_are_right_to_a_few_points(monkeypatch, wrong):
    p = np.linspace(0.02, 0.9, 20)
    approximate = average_wins(majority_wins(wrong, 64, 5), p, 1 - p, 64)
    monkeypatch.setattr(voting, "EXACT_ANSWERS", 5)
    exact = average_wins(majority_wins.__wrapped__(wrong, 64, 5), p, 1 - p, 64)
    assert approximate == pytest.approx(exact, abs=0.05)
    assert float(np.abs(approximate - exact).mean()) < 0.015


def test_with_a_price_on_wrong_answers_no_more_samples_than_are_worth_it_are_drawn():
    known = offer(profile=profile(replace(KNOWN, beta=Beta(0.4, 0.4)), apart=2.5))
    wanted = Wanted(Caps(samples=200), wrong_answer_cost=12.0)
    found = recommend([known], wanted)
    plan = found.choice.plan
    assert plan.strategy == "repeated_sampling"
    task = known.profile.fitted("prm", plan.max_tokens).task
    rates = task.verifier.rates(plan.params["accept_at"])
    rates = replace(rates, tpr=rates.tpr * task.right_reach, fpr=rates.fpr * task.wrong_reach)
    best = best_most(task.difficulty, rates, 12.0)
    assert 1 < best.samples < 200
    assert plan.samples <= best.samples
    assert any(f"More than {best.samples} samples lose" in reason for reason in found.reasons)
    assert any(
        f"at most {100 * ceiling(task.difficulty, rates):.1f} %" in warning for warning in found.warnings
    )


def test_where_no_answer_is_worth_its_risk_it_is_said():
    hopeless = profile(replace(KNOWN, beta=Beta(0.2, 4.0)), apart=0.5)
    found = recommend([offer(profile=hopeless)], Wanted(Caps(samples=16), wrong_answer_cost=50.0))
    assert any("Answering is not worth it" in warning for warning in found.warnings)


def test_several_answers_are_at_least_as_often_right_and_need_as_many_samples():
    one, three = (recommend([offer()], Wanted(Caps(samples=16), k=k)) for k in (1, 3))
    assert three.choice.predicted.accuracy.value > one.choice.predicted.accuracy.value
    assert min(choice.plan.samples for choice in three.frontier) >= 3


def test_past_saturation_it_is_said():
    easy = profile(replace(KNOWN, beta=Beta(50.0, 2.0)), apart=4.0)
    found = recommend([offer(profile=easy)], Wanted(Caps(samples=200)))
    assert found.choice.plan.samples <= 100
    assert any(warning.startswith("Past saturation: the budget has room for") for warning in found.warnings)


def test_a_judge_that_is_fooled_by_some_wrong_answers_gets_fewer_samples_or_a_softer_choice():
    fooled = profile(apart=0.6, noise=3.0)
    found = recommend([offer(profile=fooled)], Wanted(Caps(samples=64), most_samples=64))
    task = fooled.fitted("prm", found.choice.plan.max_tokens).task
    argmax = expected_accuracy("best_of_n", task, [1, 4, 64])
    assert argmax[2] < argmax.max()
    assert found.choice.plan.params.get("select") != "argmax"
    assert found.choice.predicted.accuracy.value > argmax.max()


def test_a_prior_is_called_one_and_gives_wide_intervals():
    guess = recommend([offer(profile=Profile.prior())], Wanted(Caps(samples=4), most_samples=8))
    assert any("No profile of small is kept" in warning for warning in guess.warnings)
    accuracy = guess.choice.predicted.accuracy
    assert accuracy.high - accuracy.low > 0.5
    other = replace(PRM, name="other")
    found = recommend([offer(verifiers=(other,))], Wanted(Caps(samples=8), most_samples=8))
    assert found.choice.plan.verifier is None or any("never measured" in each for each in found.warnings)


def test_latency_factors_nobody_has_learned_make_the_seconds_uncertain_and_not_the_eflops():
    new = Tariff(SMALL, GPU, 2.0, 8)
    learned, fresh = (
        recommend([offer(tariff=each, verifiers=())], Wanted(Caps(samples=1))).choice.predicted
        for each in (tariff(), new)
    )
    assert fresh.seconds.high / fresh.seconds.value > 5 > learned.seconds.high / learned.seconds.value
    assert fresh.eflops == learned.eflops


def test_without_hardware_or_price_costs_are_none_and_it_is_said():
    bare = recommend([offer(tariff=None, verifiers=())], Wanted(Caps(tokens=2000)))
    assert bare.choice.predicted.eflops is bare.choice.predicted.usd is bare.choice.predicted.seconds is None
    assert any("Configure its hardware" in warning for warning in bare.warnings)
    unpriced = recommend([offer(tariff=tariff(usd=None), verifiers=())], Wanted(Caps(tokens=2000)))
    assert unpriced.choice.predicted.usd is None
    assert unpriced.choice.predicted.eflops is not None
    assert any("Configure its usd_per_hour" in warning for warning in unpriced.warnings)
    judged = VerifierOffer("prm", None, free=False)
    found = recommend([offer(verifiers=(judged,))], Wanted(Caps(samples=8), most_samples=8))
    assert any("What prm costs is not known" in warning for warning in found.warnings)


def test_an_offer_whose_cost_is_not_known_is_left_out_where_that_cost_is_capped():
    bare = offer(model="bare", tariff=None)
    found = recommend([bare, offer()], Wanted(Caps(seconds=5.0)))
    assert found.choice.plan.model == "small"
    assert any(warning.startswith("bare was left out: budget.seconds") for warning in found.warnings)


def test_what_would_reach_the_target_is_named_beyond_the_budget_in_samples():
    found = recommend([offer()], Wanted(Caps(samples=2), target_accuracy=0.7))
    [warning] = [each for each in found.warnings if "out of reach of this budget" in each]
    assert "would reach 7" in warning
    assert "samples of small" in warning


def test_warming_leaves_the_answer_as_it_is():
    wanted = Wanted(Caps(samples=4), most_samples=4)
    before = recommend([offer()], wanted)
    assert list(warm(offer(), 4))
    assert recommend([offer()], wanted) == before


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "budget and target_accuracy are both missing"),
        ({"target_accuracy": math.nan}, "target_accuracy"),
        ({"target_accuracy": 0.0}, "target_accuracy"),
        ({"target_accuracy": 1.5}, "target_accuracy"),
        ({"target_accuracy": 0.5, "k": 0}, "k must be"),
        ({"target_accuracy": 0.5, "k": 500}, "k must be"),
        ({"target_accuracy": 0.5, "wrong_answer_cost": -1.0}, "wrong_answer_cost"),
        ({"target_accuracy": 0.5, "wrong_answer_cost": math.inf}, "wrong_answer_cost"),
        ({"target_accuracy": 0.5, "difficulty": 1.1}, "difficulty"),
        ({"target_accuracy": 0.5, "difficulty": math.nan}, "difficulty"),
        ({"target_accuracy": 0.5, "most_samples": 0}, "most_samples"),
        ({"target_accuracy": 0.5, "k": 9, "most_samples": 8}, "k asks for 9 answers from 8 samples"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        Wanted(**fields)


@pytest.mark.parametrize("unit", ["samples", "tokens", "eflops", "seconds", "usd"])
@pytest.mark.parametrize("cap", [math.nan, math.inf, -1.0, 0, True, "8"])
def test_a_cap_that_is_no_positive_number_is_refused_by_name(unit, cap):
    with pytest.raises(ValueError, match=f"budget.{unit} must be"):
        Caps(**{unit: cap})


def test_offers_that_nothing_can_be_made_of_are_refused_with_the_mend():
    with pytest.raises(ValueError, match="No model is offered"):
        recommend([], Wanted(Caps(samples=4)))
    with pytest.raises(ValueError, match="Shorten the prompt"):
        offer(room=0)
    with pytest.raises(ValueError, match="prompt_tokens"):
        offer(prompt_tokens=-1)
    with pytest.raises(ValueError, match="generates"):
        VerifierOffer("judge", generates=-3)
    with pytest.raises(ValueError, match=r"budget\.usd cannot be predicted.*usd_per_hour"):
        recommend([offer(tariff=tariff(usd=None))], Wanted(Caps(usd=1.0)))
    with pytest.raises(ValueError, match=r"budget\.eflops of 1000 is too small for an answer.*Raise"):
        recommend([offer()], Wanted(Caps(eflops=1000.0)))
