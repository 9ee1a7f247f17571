"""Budgets in USD, calibration and `auto` on the real bundled model."""

import httpx
import pytest

from tests.integration.servers import BUNDLED
from tests.service.live import listening

QUESTIONS = {
    "How many legs does a spider have? Answer with a number.": "8",
    "How many days are there in a week? Answer with a number.": "7",
    "How many hours does a day have? Answer with a number.": "24",
    "What is 38 + 46? Answer with a number.": "84",
    "What is 124 * 38? Answer with a number.": "4712",
}
"""From easy to hopeless for the bundled model."""
SPIDER = next(iter(QUESTIONS))
COST = {"path": str(BUNDLED), "hardware": "cpu", "weight_bytes": 4, "kv_bytes": 4, "usd_per_hour": 1.0}


@pytest.fixture
async def priced(bundled_vllm):
    model = {"name": "m", "urls": [bundled_vllm.url], "served_name": bundled_vllm.model} | COST
    async with (
        listening({"models": [model]}) as url,
        httpx.AsyncClient(base_url=url, timeout=120) as client,
    ):
        yield client


async def scale(client, question, **scaling):
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 30,
        "temperature": 0.7,
        "seed": 5,
        "scaling": {"answer": {"format": "number"}} | scaling,
    }
    response = await client.post("/v1/scale", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_real_run_costs_about_its_seconds_and_keeps_to_its_usd(priced):
    for _ in range(4):  # so that the factors have something to go by
        whole = (await scale(priced, SPIDER, budget={"samples": 8}))["scaling"]["spent"]
    hourly = whole["seconds"] / 3600
    assert 0.2 * hourly < whole["usd"] < 5 * hourly
    plan = {"model": "m", "prompt_tokens": whole["prompt_tokens"], "output_tokens": 30, "samples": 8}
    cap = 0.7 * (await priced.post("/v1/budget/cost", json=plan)).json()["usd"]
    capped = (await scale(priced, SPIDER, budget={"samples": 8, "usd": cap}))["scaling"]
    assert 0 < capped["spent"]["usd"] <= cap
    assert capped["stopped_because"] in ("budget_usd", "completed")
    assert capped["spent"]["tokens"] < 8 * 30


async def test_a_calibrated_task_is_predicted_and_auto_spends_less_where_samples_agree(priced):
    problems = []
    for question, right in QUESTIONS.items():
        drawn = (await scale(priced, question, budget={"samples": 16}))["candidates"]
        problems.append(
            [{"right": c["answer"] == right, "tokens": c["tokens"], "answer": c["answer"]} for c in drawn]
        )
    fitted = await priced.post("/v1/profiles", json={"model": "m", "task": "facts", "problems": problems})
    assert fitted.status_code == 200, fitted.text
    share = [sum(sample["right"] for sample in problem) / 16 for problem in problems]
    assert min(share) < 0.2 < 0.4 < max(share), share
    mean = fitted.json()["accuracy"]
    assert mean["low"] < sum(share) / len(share) < mean["high"]
    wish = {"model": "m", "task": "facts", "prompt_tokens": 40, "budget": {"samples": 16}, "verifiers": []}
    predicted = (await priced.post("/v1/budget/recommend", json=wish)).json()["predicted"]
    assert predicted["accuracy"]["value"] >= 0.9 * mean["value"]
    assert 0 < predicted["cost"]["seconds"]["value"] < 60
    easiest, hardest = [list(QUESTIONS)[share.index(chosen(share))] for chosen in (max, min)]
    easy, hard = [
        (await scale(priced, question, strategy="auto", task="facts", budget={"samples": 16}))["scaling"]
        for question in (easiest, hardest)
    ]
    assert easy["answers"][0]["answer"] == QUESTIONS[easiest]
    assert easy["estimates"]["right"] > hard["estimates"]["right"]
    assert easy["spent"]["samples"] <= 16
