"""`strategy: auto`, end to end: the recommended plan, adapted to what a prompt's samples show."""

from itertools import count

import pytest

from service.reply_schemas import ChatCompletion, ScalingOutcome
from tests.service.live import MODEL, live
from tests.service.test_recommend import graded

AUTO = {"strategy": "auto", "task": "sums", "budget": {"samples": 32}, "answer": {"format": "number"}}


async def calibrate(served, accuracy, **scored):
    body = {"model": MODEL, "task": "sums", "problems": graded(accuracy)} | scored
    assert (await served.client.post("/v1/profiles", json=body)).status_code == 200


async def outcome(served, **changes):
    response = await served.scale(max_tokens=64, scaling=AUTO | changes)
    assert response.status_code == 200, response.text
    return ScalingOutcome.model_validate(response.json()).scaling


async def test_samples_that_agree_are_enough_and_those_that_differ_are_not():
    async with live(["15"] * 64) as served:
        await calibrate(served, 0.6)
        agreed = await outcome(served)
        assert agreed.spent.samples <= 8
        assert (agreed.chosen_by, agreed.answers[0].answer) == ("auto", "15")
        assert agreed.answers[0].votes == agreed.spent.samples
        served.script(str(number) if number % 3 else "15" for number in count(100))
        mixed = await outcome(served)
        assert mixed.spent.samples > agreed.spent.samples
        assert len(mixed.reasons) > 1


async def test_the_reply_says_what_chose_the_answer_and_why():
    async with live(["15"] * 64) as served:
        await calibrate(served, 0.6)
        response = await served.chat(scaling=AUTO)
        assert response.headers["x-aliquot-strategy"] == "auto"
        told = ChatCompletion.model_validate(response.json()).scaling
        assert (told.strategy, told.chosen_by) == ("auto", "auto")
        assert 0.5 < told.estimates["right"] <= 1
        assert all(isinstance(reason, str) and reason.endswith(".") for reason in told.reasons)
        plain = (await served.chat(scaling={"budget": {"samples": 2}})).json()["scaling"]
        assert "reasons" not in plain


async def test_without_a_profile_it_works_and_warns():
    async with live(["15"] * 64) as served:
        told = await outcome(served)
        assert told.answers[0].answer == "15"
        assert any("prior" in warning for warning in told.warnings)
        assert told.verifier is None
        assert told.estimates == {}


async def test_without_a_profile_answers_are_taken_to_fit_the_length_they_are_given():
    async with live(["15", "16", "15", "17"] * 64) as served:
        response = await served.scale(max_tokens=8, scaling=AUTO)
        told = ScalingOutcome.model_validate(response.json()).scaling
        assert told.spent.samples >= 4
        assert told.answers[0].answer == "15"


async def test_a_deadline_that_nobody_can_foresee_is_left_to_the_ledger():
    async with live(["15"] * 64) as served:
        await calibrate(served, 0.6)
        told = await outcome(served, budget={"samples": 16, "seconds": 30})
        assert told.strategy == "auto"
        assert told.budget.seconds == 30


async def test_a_measured_verifier_is_used_and_one_that_is_named_instead():
    def scored(accuracy):
        return [
            [
                sample | {"score": 0.8 + i / 100 if sample["right"] else 0.2 + i / 100}
                for i, sample in enumerate(problem)
            ]
            for problem in graded(accuracy)
        ]

    async with live(["15", "16", "17"] * 64) as served:
        await calibrate(served, 0.5, problems=scored(0.5), verifier="self_certainty")
        assert (await outcome(served)).verifier == "self_certainty"
        reference = {"name": "exact", "reference": "16"}
        checked = await outcome(served, verifier=reference)
        assert (checked.verifier, checked.answers[0].answer) == ("exact", "16")
        assert checked.strategy == "repeated_sampling"


@pytest.mark.parametrize(
    "budget", [{"samples": 1}, {"samples": 5, "tokens": 40}, {"tokens": 3}, {"samples": 3, "seconds": 5}]
)
async def test_it_keeps_to_the_budget(budget):
    async with live(
        (f"{number} and so on and on and on" for number in count()), limits={"samples": 40}
    ) as served:
        await calibrate(served, 0.5)
        told = await outcome(served, budget=budget)
        assert told.spent.samples <= budget.get("samples", 40)
        assert told.spent.tokens <= budget.get("tokens", 1_000_000)


async def test_a_budget_in_tokens_alone_leaves_the_number_of_samples_to_it():
    async with live(["15", "16", "17", "18"] * 64) as served:
        await calibrate(served, 0.5)
        told = await outcome(served, budget={"tokens": 4000}, params={"least_gain": 0.001})
        assert told.budget.samples == 256
        assert told.spent.samples > 8


async def test_what_a_further_sample_must_add_is_a_parameter():
    async with live(["15", "16", "15", "17", "18"] * 64) as served:
        await calibrate(served, 0.5)
        lavish, mean = [await outcome(served, params={"least_gain": gain}) for gain in (0.0001, 0.2)]
        assert lavish.spent.samples > mean.spent.samples


async def test_more_answers_are_returned_where_they_are_asked_for():
    async with live(["15", "16", "15", "17"] * 64) as served:
        await calibrate(served, 0.5)
        reply = (await served.chat(n=2, scaling=AUTO)).json()
        assert len(reply["choices"]) == 2
        assert reply["scaling"]["spent"]["samples"] >= 2
        assert reply["scaling"]["warnings"] == []


async def test_it_may_be_the_default_and_take_an_effort():
    async with live(["15"] * 64, defaults={"strategy": "auto", "effort": {"low": {"samples": 6}}}) as served:
        told = (await served.chat(reasoning_effort="low")).json()["scaling"]
        assert (told["chosen_by"], told["budget"]["samples"]) == ("auto", 6)


async def test_feedback_moves_the_profile_by_what_ran():
    async with live(["15"] * 64) as served:
        await calibrate(served, 0.6)
        id = (await served.chat(scaling=AUTO)).json()["id"]
        told = (await served.client.post("/v1/feedback", json={"id": id, "correct": False})).json()
        assert told["counted"] is True
        assert told["profile"]["feedback"] == 1
        assert told["warnings"] == []
