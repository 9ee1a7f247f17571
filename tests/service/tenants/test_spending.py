"""What runs may spend, from the request to the account: limits, refusals, settlements, and what it costs."""

import asyncio
from collections import Counter

import httpx
import pytest
from aiohttp import web

from service.store.client import Store
from service.store.script import Script
from service.tariffs import Tariffs
from service.tenants import directory, scripts
from service.tenants.quotas import Quotas
from tests.redis_server import stored
from tests.service.live import MESSAGES
from tests.service.priced import paid
from tests.service.tenants.asking import asking, bearer, guarded, new_key, used
from tests.stand_ins import MODEL, until

NAMES = {
    id(directory.IDENTIFY): "identify",
    id(scripts.RESERVE): "reserve",
    id(scripts.SETTLE): "settle",
    id(scripts.RENEW): "renew",
}


def body(samples=2, max_tokens=8, **more):
    scaling = {"strategy": "majority", "budget": {"samples": samples}} | more.pop("scaling", {})
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": max_tokens, "scaling": scaling} | more


async def chat(running, key, **more) -> httpx.Response:
    return await running.client.post("/v1/chat/completions", json=body(**more), headers=bearer(key))


def refused(answer, code, status=429):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return answer.json()["error"]


async def settled(running, key):
    """The usage once nothing is held any more."""
    async with asyncio.timeout(5):
        while (told := await used(running, key))["reserved"]["requests"]:
            await asyncio.sleep(0.01)
    return told


@pytest.fixture
def asked(monkeypatch):
    """Counts the scripts that the store is asked to run."""
    counted: Counter[str] = Counter()
    run = Script.__call__

    async def counting(self, redis, *given):
        counted[NAMES.get(id(self), "other")] += 1
        return await run(self, redis, *given)

    monkeypatch.setattr(Script, "__call__", counting)
    return counted


@pytest.fixture
async def service():
    async with asking() as running:
        yield running


async def test_a_run_costs_two_exchanges_before_and_one_after(service, asked):
    key = await new_key(service.client, "maths", tokens_per_day=10_000, requests_at_once=4)
    asked.clear()
    reply = await chat(service, key)
    assert reply.status_code == 200, reply.text
    del asked["other"]  # the workers', who ask for jobs all the time
    assert asked == {"identify": 1, "reserve": 1, "settle": 1}


async def test_usage_says_what_was_spent_by_model_and_strategy(service):
    key = await new_key(service.client, "maths", tokens_per_day=1000)
    spent = (await chat(service, key)).json()["usage"]
    await chat(service, key, scaling={"strategy": "best_of_n"})
    told = await used(service, key, days=2)
    assert told["tenant"] == "maths"
    assert told["reserved"] == {"requests": 0, "tokens": 0, "usd": 0.0}
    assert [day["requests"] for day in told["days"]] == [2, 0]
    by = {one["strategy"]: one for one in told["days"][0]["by"]}
    assert by["majority"]["tokens"] == spent["completion_tokens"]
    assert by["majority"]["prompt_tokens"] == spent["prompt_tokens"]
    assert told["left"] == {"tokens": 1000 - told["days"][0]["tokens"], "usd": None}
    assert sum(one["tokens"] for one in by.values()) == told["days"][0]["tokens"]


async def test_a_request_beyond_the_quota_is_refused_and_one_before_is_cut_to_it(service):
    service.script(["x" * 30] * 64)
    key = await new_key(service.client, "maths", tokens_per_day=100)
    whole = await chat(service, key, max_tokens=30, samples=2)
    assert whole.json()["scaling"]["spent"]["tokens"] == 60
    cut = (await chat(service, key, max_tokens=30, samples=2)).json()["scaling"]
    assert cut["budget"]["tokens"] == 40
    assert cut["spent"]["tokens"] <= 40
    assert any("quota" in warning for warning in cut["warnings"])
    calls = len(service.completions)
    answer = await chat(service, key, max_tokens=30, samples=2)
    refused(answer, "quota_exceeded")
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert len(service.completions) == calls
    left = (await used(service, key))["left"]["tokens"]
    assert 0 <= left < 16


async def test_a_stream_is_refused_before_it_begins(service):
    key = await new_key(service.client, "maths", requests_per_second=0.01)
    assert (await chat(service, key, stream=True)).status_code == 200
    answer = await chat(service, key, stream=True)
    assert answer.headers["content-type"] == "application/json"
    refused(answer, "rate_limited")
    assert 98 <= int(answer.headers["retry-after"]) <= 100
    assert answer.headers["x-should-retry"] == "false"


async def test_requests_at_once_are_free_again_with_the_reply(service):
    service.script(["15"] * 64, step_seconds=0.01)
    key = await new_key(service.client, "maths", requests_at_once=1)
    for _ in range(5):
        assert (await chat(service, key)).status_code == 200
    both = await asyncio.gather(chat(service, key), chat(service, key))
    assert sorted(answer.status_code for answer in both) == [200, 429]
    streamed = [await chat(service, key, stream=True) for _ in range(3)]
    assert [answer.status_code for answer in streamed] == [200] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_pays_for_what_was_generated_and_frees_the_rest(service, stream):
    engine = service.script(["x" * 2000] * 64, step_seconds=0.005)
    key = await new_key(service.client, "maths", tokens_per_day=100_000, requests_at_once=1)
    budget = {"samples": 2, "seconds": 60}  # so that the engine's tokens are counted as they come
    asking = asyncio.create_task(
        chat(service, key, max_tokens=2000, stream=stream, scaling={"budget": budget})
    )
    await until(lambda: service.stand_in.running == 2)
    held = await used(service, key)
    assert held["reserved"] == {"requests": 1, "tokens": 4000, "usd": 0.0}
    assert held["left"]["tokens"] == 96_000
    await until(lambda: engine.generated > 40)
    asking.cancel()
    told = await settled(service, key)
    assert 10 < told["days"][0]["tokens"] <= engine.generated < 4000
    assert service.stand_in.running == 0


async def test_a_run_that_fails_is_charged_what_its_account_says_and_holds_nothing(service):
    key = await new_key(service.client, "maths", tokens_per_day=1000)

    async def failing(_):
        return web.json_response({"error": {"message": "broken", "code": 500}}, status=500)

    service.stand_in.fault = failing
    refused(await chat(service, key), "engine_unavailable", 503)
    told = await settled(service, key)
    metrics = (await service.client.get("/metrics")).text
    tokens = told["days"][0]["tokens"]
    assert f'aliquot_generated_tokens_total{{model="{MODEL}",strategy="majority"}} {tokens:.1f}' in metrics
    assert told["left"]["tokens"] == 1000 - tokens


async def test_a_request_that_cannot_be_planned_holds_and_counts_nothing(service):
    key = await new_key(service.client, "maths", tokens_per_day=1000, requests_per_second=0.01)
    for wrong in ({"n": 9}, {"scaling": {"strategy": "luck"}}, {"model": "other"}):
        assert (await chat(service, key, **wrong)).status_code in (404, 422)
    assert (await chat(service, key)).status_code == 200


async def test_only_allowed_models_and_strategies_are_run():
    others = [{"name": "other"}]
    async with asking(settings=guarded(), others=others) as running:
        key = await new_key(running.client, "maths", models=[MODEL], strategies=["majority"])
        assert (await chat(running, key)).status_code == 200
        error = refused(await chat(running, key, model="other"), "not_allowed", 403)
        assert (error["param"], MODEL in error["message"]) == ("model", True)
        error = refused(await chat(running, key, scaling={"strategy": "best_of_n"}), "not_allowed", 403)
        assert (error["param"], "majority" in error["message"]) == ("scaling.strategy", True)
        judge = {"name": "judge", "model": "other"}
        error = refused(await chat(running, key, scaling={"verifier": judge}), "not_allowed", 403)
        assert error["param"] == "scaling.verifier.model"


async def test_the_largest_budget_of_a_request_clamps_defaults_and_refuses_more(service):
    most = {"samples": 4, "tokens": 500, "seconds": 30}
    key = await new_key(service.client, "maths", most=most)
    plain = {"model": MODEL, "messages": MESSAGES, "max_tokens": 8}
    answer = await service.client.post("/v1/chat/completions", json=plain, headers=bearer(key))
    budget = answer.json()["scaling"]["budget"]
    assert {unit: budget[unit] for unit in most} == most
    for unit, value in (("samples", 5), ("tokens", 501), ("seconds", 31)):
        error = refused(await chat(service, key, scaling={"budget": {unit: value}}), "above_limit", 400)
        assert error["param"] == f"scaling.budget.{unit}"


async def test_usd_are_spent_to_the_quota_and_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(Tariffs, "learn", lambda *_: None)  # so that prices stay
    async with asking(["x" * 40] * 512, model=paid(tmp_path)) as running:
        key = await new_key(running.client, "maths")
        whole = (await chat(running, key, max_tokens=40)).json()["scaling"]["spent"]["usd"]
        quota = 3.5 * whole
        await new_key(running.client, "maths", usd_per_day=quota)
        ended = []
        while (answer := await chat(running, key, max_tokens=40)).status_code == 200:
            ended.append(answer.json()["scaling"])
            assert ended[-1]["budget"]["usd"] <= quota
        refused(answer, "quota_exceeded")
        used_up = await used(running, key)
        assert 0 < used_up["days"][0]["usd"] <= quota * (1 + 1e-9) + 1e-9
        assert used_up["reserved"]["usd"] == 0
        assert ended[0]["stopped_because"] == "completed"
        assert ended[-1]["stopped_because"] == "budget_usd"
        metrics = (await running.client.get("/metrics")).text
        assert "aliquot_overspends_total 0.0" in metrics


async def test_a_model_without_a_price_is_refused_where_usd_are_limited(tmp_path):
    async with asking(model=paid(tmp_path, usd_per_hour=None)) as running:
        key = await new_key(running.client, "maths", usd_per_day=1)
        refused(await chat(running, key), "price_required", 422)


async def test_other_limits_hold_from_the_next_request_on(service):
    key = await new_key(service.client, "maths")
    assert (await chat(service, key)).status_code == 200
    await new_key(service.client, "maths", strategies=["best_of_n"])
    refused(await chat(service, key), "not_allowed", 403)


async def test_what_has_ended_is_charged_before_the_service_does(monkeypatch):
    settle = Quotas.settle

    async def slow(self, settlements):
        await asyncio.sleep(0.3)
        await settle(self, settlements)

    monkeypatch.setattr(Quotas, "settle", slow)
    settings = stored(guarded())
    async with asking(settings=settings) as running:
        key = await new_key(running.client, "maths")
        replies = await asyncio.gather(*(chat(running, key) for _ in range(20)))
    spent = sum(reply.json()["usage"]["completion_tokens"] for reply in replies)
    store = Store(settings)
    await store.start()
    reserved, (today,) = await Quotas(store).usage("maths", 1)
    await store.stop()
    assert (reserved, today.spent["tokens"], today.spent["requests"]) == (0, spent, 20)


async def test_two_replicas_let_one_of_two_requests_have_what_is_left():
    settings = stored(guarded())
    async with asking(["x" * 30] * 256, settings) as one, asking(["x" * 30] * 256, settings) as other:
        for race in range(10):
            key = await new_key(one.client, f"racer{race}", tokens_per_day=60)
            came = await asyncio.gather(*(chat(replica, key, max_tokens=30) for replica in (one, other)))
            assert sorted(answer.status_code for answer in came) == [200, 429]
            assert (await used(other, key))["days"][0]["tokens"] == 60


async def test_refusals_and_spending_are_counted_by_tenant(service):
    key = await new_key(service.client, "maths", requests_per_second=0.01)
    spent = (await chat(service, key)).json()["usage"]["completion_tokens"]
    refused(await chat(service, key), "rate_limited")
    metrics = (await service.client.get("/metrics")).text
    assert 'aliquot_tenant_refused_total{code="rate_limited",tenant="maths"} 1.0' in metrics
    assert f'aliquot_tenant_tokens_total{{strategy="majority",tenant="maths"}} {spent:.1f}' in metrics
    assert 'aliquot_tenant_runs_total{strategy="majority",tenant="maths"} 1.0' in metrics
