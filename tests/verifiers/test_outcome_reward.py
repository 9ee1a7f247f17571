import asyncio

import pytest
from aiohttp import web

from engines.base import EngineGarbage, EngineUnavailable
from engines.transport import Transport
from tests.stand_ins import StandInReward, serving
from tests.verifiers.scoring import MESSAGES, response
from verifiers.outcome_reward import OutcomeReward

REWARDS = {"good": 2.5, "bad": -1.5}


@pytest.fixture
async def reward():
    server = StandInReward(REWARDS.__getitem__)
    async with serving(server.app()) as url:
        http = Transport(url)
        yield OutcomeReward("rm", http, "m")
        await http.close()


async def test_takes_the_servers_score_of_each_response(reward):
    verdict = await reward.score(MESSAGES, [response("good"), response("bad")])
    assert verdict.scores == (2.5, -1.5)
    assert (verdict.read, verdict.generated) == (22, 0)


async def test_classify_takes_the_probability_of_the_positive_label():
    server = StandInReward({"good": 0.9, "bad": 0.2}.__getitem__)
    async with serving(server.app()) as url:
        http = Transport(url)
        classifier = OutcomeReward("rm", http, "m", "classify", positive_label=1)
        verdict = await classifier.score(MESSAGES, [response("good"), response("bad")])
        assert verdict.scores == (0.9, 0.2)
        missing = OutcomeReward("rm", http, "m", "classify", positive_label=7)
        with pytest.raises(EngineGarbage, match="no score for label 7"):
            await missing.score(MESSAGES, [response("good")])
        await http.close()


async def _answering(body):
    async def answer(request):
        sent = await request.json()
        if sent["messages"][-1]["content"] == "bad":
            return web.Response(status=500)
        return web.json_response(body)

    app = web.Application()
    app.router.add_post("/pooling", answer)
    return app


async def test_a_score_for_each_token_counts_by_its_last():
    async with serving(await _answering({"data": [{"data": [[0.1], [0.2], [0.7]]}]})) as url:
        http = Transport(url)
        verdict = await OutcomeReward("rm", http, "m").score(MESSAGES, [response("good"), response("bad")])
        await http.close()
    assert verdict.scores == (0.7, None)
    assert verdict.warnings == ("rm scored 1 of 2 responses.",)


@pytest.mark.parametrize("body", [{"data": []}, {"data": [{"data": []}]}, {"data": "many"}, [1]])
async def test_garbage_is_told_as_such(body):
    async with serving(await _answering(body)) as url:
        http = Transport(url)
        with pytest.raises(EngineGarbage):
            await OutcomeReward("rm", http, "m").score(MESSAGES, [response("good")])
        await http.close()


async def test_a_server_that_is_not_there_is_unavailable():
    http = Transport("http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable):
        await OutcomeReward("rm", http, "m").score(MESSAGES, [response("good")])
    await http.close()


async def _waiting_on(text):
    async def answer(request):
        if (await request.json())["messages"][-1]["content"] == text:
            await asyncio.Event().wait()
        return web.json_response({"data": [{"data": [0.5]}]})

    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/pooling", answer)
    return app


async def test_a_slow_response_does_not_lose_the_others():
    async with serving(await _waiting_on("slow")) as url:
        http = Transport(url)
        rm = OutcomeReward("rm", http, "m")
        verdict = await rm.score(MESSAGES, [response("good"), response("slow")], seconds=0.3)
        late = await rm.score(MESSAGES, [response("slow")], seconds=0.05)
        await http.close()
    assert verdict.scores == (0.5, None)
    assert verdict.warnings == ("rm scored 1 of 2 responses in time.",)
    assert late.scores == (None,)
    assert late.warnings == ("rm scored 0 of 1 responses in time.",)


async def test_no_responses_need_no_server():
    assert (await OutcomeReward("rm", Transport("http://127.0.0.1:9"), "m").score(MESSAGES, [])).scores == ()
