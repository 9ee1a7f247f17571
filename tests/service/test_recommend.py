"""POST /v1/budget/recommend: what it answers is the recommender's, for configured models, profiles and verifiers."""

import itertools
import math

import pytest

from service.budget_replies import Recommendation
from service.reply_schemas import Error
from tests.service.live import MODEL, live
from tests.service.priced import paid

WISH = {"prompt_tokens": 200, "budget": {"samples": 16}, "verifiers": []}


async def asked(served, body):
    response = await served.client.post("/v1/budget/recommend", json=body)
    assert response.status_code == 200, response.text
    Recommendation.model_validate(response.json())
    return response.json()


def graded(accuracy):
    """Problems of that accuracy: half of the samples of each are right, or all, or none."""
    shares = [0.0, 2 * accuracy] if accuracy <= 0.5 else [2 * accuracy - 1, 1.0]
    return [
        [
            {
                "right": i < round(8 * shares[problem % 2]),
                "tokens": 40 + 3 * i + problem,
                "finished": True,
                "answer": "right" if i < round(8 * shares[problem % 2]) else f"wrong {i % 3}",
            }
            for i in range(8)
        ]
        for problem in range(20)
    ]


async def test_a_plan_keeps_to_the_budget_and_says_that_it_rests_on_the_prior(served):
    reply = await asked(served, WISH)
    assert reply["plan"]["model"] == MODEL
    assert reply["plan"]["samples"] <= 16
    assert reply["plan"]["verifier"] is None
    assert reply["predicted"]["cost"]["eflops"] is None
    assert reply["predicted"]["cost"]["tokens"]["value"] > 0
    assert any("prior" in warning for warning in reply["warnings"])
    assert reply["reasons"]


async def test_the_frontier_rises_in_cost_and_in_accuracy(served):
    reply = await asked(served, WISH)
    frontier = reply["frontier"]
    assert reply["axis"] == "tokens"
    assert len(frontier) > 1
    for cheaper, dearer in itertools.pairwise(frontier):
        assert cheaper["accuracy"]["value"] < dearer["accuracy"]["value"]
        assert cheaper["cost"]["tokens"]["value"] <= dearer["cost"]["tokens"]["value"]


async def test_a_calibrated_profile_of_the_task_predicts_and_another_task_does_not_know_it(served):
    measured = {"model": MODEL, "task": "sums", "problems": graded(0.8)}
    assert (await served.client.post("/v1/profiles", json=measured)).status_code == 200
    known = await asked(served, WISH | {"task": "sums"})
    assert known["predicted"]["accuracy"]["value"] > 0.75
    assert not any("prior" in warning for warning in known["warnings"])
    width = known["predicted"]["accuracy"]["high"] - known["predicted"]["accuracy"]["low"]
    unknown = (await asked(served, WISH | {"task": "proofs"}))["predicted"]["accuracy"]
    assert width < 0.6 * (unknown["high"] - unknown["low"])


async def test_messages_are_counted_by_the_models_own_tokenizer(served):
    short, long = [
        await asked(served, {k: v for k, v in WISH.items() if k != "prompt_tokens"} | {"messages": messages})
        for messages in ([{"role": "user", "content": "?"}], [{"role": "user", "content": "why " * 500}])
    ]
    assert short["plan"]["max_tokens"] >= long["plan"]["max_tokens"]


async def test_the_cheaper_of_two_models_that_reach_a_target_is_taken(tmp_path):
    dear = {"name": "dear"} | paid(tmp_path, usd_per_hour=36.0)
    async with live(model=paid(tmp_path), others=[dear]) as served:
        for model in (MODEL, "dear"):
            body = {"model": model, "problems": graded(0.8)}
            assert (await served.client.post("/v1/profiles", json=body)).status_code == 200
        wish = {"prompt_tokens": 100, "target_accuracy": 0.8, "verifiers": []}
        for order in ([MODEL, "dear"], ["dear", MODEL]):
            reply = await asked(served, wish | {"models": order})
            assert reply["plan"]["model"] == MODEL
        cost = reply["predicted"]["cost"]
        assert all(cost[unit]["low"] <= cost[unit]["value"] <= cost[unit]["high"] for unit in cost)
        crowded = await asked(served, wish | {"model": MODEL, "concurrency": 64})
        assert crowded["predicted"]["cost"]["usd"]["value"] < cost["usd"]["value"]


async def test_a_budget_in_usd_is_kept_to_in_the_mean(tmp_path):
    async with live(model=paid(tmp_path)) as served:
        wish = {"prompt_tokens": 100, "verifiers": []}
        costs = []
        for usd in (2e-5, 2e-4):
            reply = await asked(served, wish | {"budget": {"usd": usd}})
            costs.append(reply["predicted"]["cost"]["usd"]["value"])
            assert 0 < costs[-1] <= usd
        assert costs[0] < costs[1]


async def test_verifiers_that_ask_for_something_are_there_only_where_they_are_named(served):
    free = await asked(served, WISH | {"verifiers": ["exact"]})
    assert free["plan"]["verifier"] == "exact"
    everything = await asked(served, {k: v for k, v in WISH.items() if k != "verifiers"})
    assert all(choice["plan"]["verifier"] not in ("exact", "unit_tests") for choice in everything["frontier"])


CASES = {
    "neither budget nor target": ({"budget": None}, 400, "budget", "Say what may be spent"),
    "an empty budget": ({"budget": {}}, 400, "budget", "Say what may be spent"),
    "a budget of nothing": ({"budget": {"samples": None}}, 400, "budget", "Say what may be spent"),
    "an unknown verifier": ({"verifiers": ["self_certainty", "oracle"]}, 422, "verifiers.1", "There are"),
    "an unknown model": ({"model": "gpt-9"}, 404, "model", MODEL),
    "an unknown one of several": ({"models": [MODEL, "gpt-9"]}, 404, "models.1", MODEL),
    "model and models": ({"model": MODEL, "models": [MODEL]}, 400, "models", "Give one of them"),
    "no model at all": ({"models": []}, 400, "models", "at least 1"),
    "messages and tokens": (
        {"messages": [{"role": "user", "content": "?"}]},
        400,
        "prompt_tokens",
        "Give one of them",
    ),
    "neither messages nor tokens": ({"prompt_tokens": None}, 400, "messages", "Add it, or prompt_tokens"),
    "a message that says nothing": (
        {"prompt_tokens": None, "messages": [{"role": "user"}]},
        400,
        "messages.0.content",
        "Give a text",
    ),
    "a prompt that leaves no room": ({"prompt_tokens": 2_000_000}, 400, "prompt_tokens", "Shorten"),
    "negative tokens": ({"prompt_tokens": -1}, 400, "prompt_tokens", "greater than or equal to 0"),
    "a target above 1": ({"target_accuracy": 1.5}, 400, "target_accuracy", "less than or equal to 1"),
    "a target of nothing": ({"target_accuracy": 0}, 400, "target_accuracy", "greater than 0"),
    "no samples": ({"budget": {"samples": 0}}, 400, "budget.samples", "greater than or equal to 1"),
    "more answers than samples": ({"k": 32}, 422, "k", "budget.samples"),
    "too many answers": ({"k": 1000}, 400, "k", "less than or equal to 128"),
    "a wrong answer that pays": (
        {"wrong_answer_cost": -1},
        400,
        "wrong_answer_cost",
        "greater than or equal",
    ),
    "a difficulty above 1": ({"difficulty": 1.01}, 400, "difficulty", "less than or equal to 1"),
    "no concurrency": ({"concurrency": 0}, 400, "concurrency", "greater than or equal to 1"),
    "usd of a model without a price": ({"budget": {"usd": 1}}, 422, "budget.usd", "Configure"),
    "a text for a number": ({"prompt_tokens": "200"}, 400, "prompt_tokens", "integer"),
    "an unknown field": ({"samples": 4}, 400, "samples", "is not a parameter"),
    "an empty task": ({"task": ""}, 400, "task", "at least 1"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_bad_wish_is_told_its_field_and_the_mend(served, case):
    change, status, param, says = CASES[case]
    body = {name: value for name, value in (WISH | change).items() if value is not None}
    response = await served.client.post("/v1/budget/recommend", json=body)
    assert response.status_code == status, response.text
    error = Error.model_validate(response.json()).error
    assert error.param == param
    assert says in error.message


@pytest.mark.parametrize("number", [math.nan, math.inf])
async def test_a_number_that_is_none_is_refused(served, number):
    for field in ("target_accuracy", "difficulty", "wrong_answer_cost"):
        content = f'{{"prompt_tokens": 10, "budget": {{"samples": 2}}, "{field}": {number}}}'.replace(
            "inf", "1e999"
        )
        response = await served.client.post("/v1/budget/recommend", content=content)
        assert response.status_code == 400, response.text


async def test_a_model_whose_engine_does_not_answer_is_a_503():
    async with live(models=[{"name": MODEL, "urls": ["http://127.0.0.1:9"]}]) as served:
        response = await served.client.post("/v1/budget/recommend", json=WISH)
        assert response.status_code == 503
        assert response.headers["retry-after"]
