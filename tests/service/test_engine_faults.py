"""An engine that is down, slow, garbled, short of samples or dies midway; a client that leaves."""

import asyncio
import json

import pytest
from aiohttp import web

from engines.base import EngineError
from engines.scripted import ScriptedEngine
from service.errors import ApiError
from service.planning import plan
from service.routes import catalog
from service.running import run
from service.schemas import read_chat
from service.settings import Settings, WorldConfig
from service.world import World
from tests.service.live import MESSAGES, live
from tests.stand_ins import MODEL, until

BEST = {"strategy": "best_of_n", "budget": {"samples": 4}}


async def _status(_, status=500):
    return web.Response(status=status, text="Traceback: /root/secret")


async def _garbage(_):
    return web.Response(text="<html>")


async def test_an_engine_that_is_down_gives_503_and_says_when_to_try_again():
    async with live(models=[{"name": MODEL, "urls": ["http://127.0.0.1:9"]}]) as served:
        response = await served.chat()
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["error"]["code"] == "engine_unavailable"


@pytest.mark.parametrize("fault", [_status, _garbage])
async def test_an_engine_that_fails_gives_503_and_leaks_nothing(served, fault):
    served.stand_in.fault = fault
    response = await served.chat(scaling=BEST)
    assert response.status_code == 503
    assert "secret" not in response.text


async def test_a_request_that_the_engine_refuses_gives_400_with_its_words(served):
    async def refuses(_):
        return web.json_response({"error": {"message": "n must be 1"}}, status=400)

    served.stand_in.fault = refuses
    response = await served.chat(scaling=BEST)
    assert response.status_code == 400
    assert "n must be 1" in response.json()["error"]["message"]


async def test_fewer_choices_than_asked_are_used_and_the_answer_says_so(served):
    served.script(["a", EngineError("lost"), "a", EngineError("lost")])
    reply = (await served.chat(scaling=BEST)).json()
    assert reply["choices"][0]["message"]["content"] == "a"
    assert "2 of 4 samples failed; the others were used." in reply["scaling"]["warnings"]


async def test_an_engine_that_dies_midway_leaves_what_was_finished(served):
    """The first wave is answered; the second call finds the engine dead."""
    served.script(["no", "no", "no"])
    answered = asyncio.Event()

    async def dies_after_the_first(request):
        if answered.is_set():
            return web.Response(status=500)
        answered.set()
        served.stand_in.fault = dies_after_the_first
        body = {"index": 0, "text": "no", "token_ids": [110, 111], "finish_reason": "stop"}
        return web.json_response({"choices": [body], "usage": {"prompt_tokens": 5}})

    served.stand_in.fault = dies_after_the_first
    scaling = {
        "strategy": "repeated_sampling",
        "budget": {"samples": 8},
        "verifier": {"name": "exact", "reference": "yes"},
        "answer": {"format": "text"},
    }
    response = await served.chat(scaling=scaling)
    assert response.status_code == 200
    reply = response.json()
    assert reply["scaling"]["stopped_because"] == "engine_failed"
    assert reply["choices"][0]["message"]["content"] == "no"
    assert reply["scaling"]["warnings"]


async def test_a_deadline_keeps_what_finished(served):
    served.script(["7", "x" * 30_000, "7", "x" * 30_000], step_seconds=0.01)
    reply = (await served.chat(scaling={"budget": {"samples": 4, "seconds": 0.5}})).json()
    assert reply["scaling"]["stopped_because"] == "budget_seconds"
    assert reply["scaling"]["answers"][0]["votes"] == 2
    await until(lambda: served.stand_in.running == 0)


async def test_a_deadline_before_the_first_answer_is_504(served):
    served.script(["x" * 30_000] * 2, step_seconds=0.01)
    response = await served.chat(scaling={"budget": {"samples": 2, "seconds": 0.2}})
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_before_first_answer"
    assert response.headers["x-should-retry"] == "false"


async def test_no_request_outlives_the_services_own_limit():
    async with live(["x" * 30_000] * 2, limits={"seconds": 0.2}) as served:
        served.script(["x" * 30_000] * 2, step_seconds=0.01)
        response = await served.chat(scaling={"budget": {"samples": 2}})
        assert response.status_code == 504
        await until(lambda: served.stand_in.running == 0)


async def test_a_client_that_leaves_stops_the_engine(served):
    served.script(["x" * 30_000] * 4, step_seconds=0.01)
    asking = asyncio.create_task(served.chat(scaling={"budget": {"samples": 4}}))
    await until(lambda: served.stand_in.running == 4)
    asking.cancel()
    await until(lambda: served.stand_in.running == 0)
    served.script(["15"])
    again = await served.chat(scaling={"budget": {"samples": 1}})
    assert again.status_code == 200


async def test_requests_of_many_clients_do_not_mix(served):
    served.script(lambda prompt: [prompt] * 4)

    async def ask(i):
        message = {"role": "user", "content": f"say {i}"}
        return (await served.chat(messages=[message], scaling=BEST)).json()["choices"][0]["message"][
            "content"
        ]

    assert await asyncio.gather(*map(ask, range(40))) == [f"say {i}" for i in range(40)]


async def test_an_engine_that_never_tokenizes_is_504_too(served):
    async def hangs(*_, **__):
        await asyncio.sleep(30)

    served.stand_in.engine.tokenize = hangs
    response = await served.chat(scaling={"budget": {"samples": 2, "seconds": 0.2}})
    assert response.status_code == 504


async def test_the_seconds_of_a_budget_count_from_the_request_not_from_the_first_sample():
    engine = ScriptedEngine(["15"])

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    tokenize = engine.tokenize

    async def slowly(*args, **options):
        clock.now += 2.0
        return await tokenize(*args, **options)

    engine.tokenize = slowly
    world = World(Settings(), WorldConfig(models=[{"name": MODEL, "urls": ["http://127.0.0.1:9"]}]))
    world._engines[MODEL] = engine
    request = {"model": MODEL, "messages": MESSAGES, "scaling": {"budget": {"samples": 1, "seconds": 3}}}
    planned = await plan(world, read_chat(json.dumps(request).encode()), clock=clock)
    assert planned.ledger.seconds_left == 1.0
    clock.now += 1.0
    with pytest.raises(ApiError) as late:
        await run(planned)
    assert late.value.status == 504


async def test_tokens_that_have_no_room_for_an_answer_are_told(served):
    scaling = {"strategy": "best_of_n", "verifier": "judge", "budget": {"samples": 2, "tokens": 5}}
    response = await served.chat(scaling=scaling)
    assert response.status_code == 422
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("budget_too_small", "scaling.budget.tokens")
    assert "Raise scaling.budget.tokens" in error["message"]


async def test_a_bug_has_its_request_id_and_is_counted_as_500(served, monkeypatch):
    def breaks(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(catalog, "describe", breaks)
    response = await served.client.get("/v1/strategies", headers={"X-Request-Id": "mine-2"})
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "mine-2"
    assert "mine-2" in response.json()["error"]["message"]
    assert "secret" not in response.text
    text = (await served.client.get("/metrics")).text
    assert 'aliquot_requests_total{route="/v1/strategies",status="500"} 1.0' in text


async def test_a_run_that_reaches_the_services_limit_keeps_what_was_in_hand():
    async with live(limits={"seconds": 0.5}) as served:
        served.script(["no", "x" * 30_000, "x" * 30_000], step_seconds=0.01)
        verifier = {"name": "exact", "reference": "yes"}
        scaling = {"strategy": "repeated_sampling", "budget": {"samples": 8}, "verifier": verifier}
        reply = (await served.chat(scaling=scaling)).json()
    assert reply["scaling"]["stopped_because"] == "budget_seconds"
    assert reply["choices"][0]["message"]["content"] == "no"


async def test_what_a_failed_run_spent_is_counted(served):
    served.script(["x" * 30_000] * 2, step_seconds=0.01)
    await served.chat(scaling={"budget": {"samples": 2, "seconds": 0.2}})
    text = (await served.client.get("/metrics")).text
    assert 'aliquot_runs_total{model="stand-in",stopped_because="failed",strategy="majority"} 1.0' in text
    assert 'aliquot_samples_total{model="stand-in",strategy="majority"} 2.0' in text
