"""Budgets in eFLOPs and USD, end to end: charged by the cost law and the roofline, never above the cap."""

import pytest

from service.reply_schemas import ChatCompletion, Error
from service.settings import Settings
from service.tariffs import Tariffs
from tests.redis_server import stored
from tests.service.live import MODEL, live
from tests.service.priced import paid


async def test_a_request_with_usd_spends_no_more_and_says_what_it_spent(tmp_path, monkeypatch):
    monkeypatch.setattr(Tariffs, "learn", lambda *_: None)  # so that prices stay
    async with live(["the answer is 15"] * 64, model=paid(tmp_path)) as served:
        whole = (await served.scale(max_tokens=64, scaling={"budget": {"samples": 8}})).json()["scaling"][
            "spent"
        ]
        assert whole["samples"] == 8
        assert whole["usd"] > 0
        cap = 0.8 * whole["usd"]
        reply = await served.chat(max_tokens=64, scaling={"budget": {"samples": 8, "usd": cap}})
        scaling = ChatCompletion.model_validate(reply.json()).scaling
        assert 0 < scaling.spent.usd <= cap
        assert scaling.stopped_because == "budget_usd"
        assert scaling.budget.usd == cap


async def test_eflops_are_a_cap_like_any_other(tmp_path):
    async with live(["fifteen"] * 64, model=paid(tmp_path, usd_per_hour=None)) as served:
        reply = (await served.scale(max_tokens=64, scaling={"budget": {"samples": 4, "eflops": 1e15}})).json()
        assert reply["scaling"]["stopped_because"] == "completed"
        spent = reply["scaling"]["spent"]
        assert 0 < spent["eflops"] <= 1e15
        assert spent["usd"] is None
        metrics = (await served.client.get("/metrics")).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("aliquot_eflops_total{")]
        assert float(line.split()[-1]) == pytest.approx(spent["eflops"])


@pytest.mark.parametrize("unit", ["eflops", "usd"])
async def test_a_cap_that_pays_for_no_token_is_told_what_one_costs(tmp_path, unit):
    async with live(["fifteen"] * 4, model=paid(tmp_path)) as served:
        cap = {"eflops": 1.0, "usd": 1e-15}[unit]
        reply = await served.chat(scaling={"budget": {unit: cap}})
        assert reply.status_code == 422
        error = Error.model_validate(reply.json()).error
        assert (error.code, error.param) == ("budget_too_small", f"scaling.budget.{unit}")
        assert "cost up to" in error.message
        assert served.stand_in.engine.calls == []


async def test_usd_of_a_model_without_a_price_is_refused_with_the_mend(tmp_path):
    async with live(model=paid(tmp_path, usd_per_hour=None)) as served:
        reply = await served.chat(scaling={"budget": {"usd": 1.0}})
        error = Error.model_validate(reply.json()).error
        assert (reply.status_code, error.code, error.param) == (422, "price_required", "scaling.budget.usd")
        assert "usd_per_hour" in error.message


async def test_an_effort_may_be_in_usd(tmp_path):
    effort = {"low": {"samples": 2, "usd": 1e-3}}
    async with live(["fifteen"] * 4, model=paid(tmp_path), defaults={"effort": effort}) as served:
        scaling = (await served.chat(reasoning_effort="low")).json()["scaling"]
        assert (scaling["chosen_by"], scaling["budget"]["usd"]) == ("effort", 1e-3)


async def test_what_calls_take_is_learned_and_kept_for_the_next_process(tmp_path):
    settings = stored(Settings())
    plan = {"model": MODEL, "prompt_tokens": 5, "output_tokens": 7, "samples": 8}
    foreseen = []
    for calls in (3, 0):
        async with live(["fifteen"] * 64, settings, model=paid(tmp_path)) as served:
            foreseen.append((await served.client.post("/v1/budget/cost", json=plan)).json()["seconds"])
            for _ in range(calls):
                assert (await served.chat(scaling={"budget": {"samples": 8}})).status_code == 200
            foreseen.append((await served.client.post("/v1/budget/cost", json=plan)).json()["seconds"])
    before, learned, remembered, still = foreseen
    assert before != learned
    assert learned == remembered == still


async def test_a_judge_of_the_same_model_is_paid_for_out_of_the_same_budget(tmp_path):
    async with live(["yes"] * 64, model=paid(tmp_path)) as served:
        free, judged = [
            (
                await served.scale(
                    scaling={"strategy": "best_of_n", "verifier": name, "budget": {"samples": 4, "usd": 1.0}}
                )
            ).json()["scaling"]["spent"]
            for name in ("self_certainty", "judge")
        ]
        assert judged["verifier_tokens"] > 0
        assert judged["usd"] > free["usd"]
