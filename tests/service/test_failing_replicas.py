"""Engines that are killed, hang, are slow or answer nonsense: a request ends on another replica, or says why not."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from engines import watch
from engines.scripted import ScriptedEngine
from tests.engines.faulty import (
    FaultyVllm,
    answers_500,
    breaks_after,
    faulty,
    half_a_body,
    half_json,
    hangs,
    piece,
    resets,
)
from tests.service.live import MESSAGES, listening
from tests.stand_ins import MODEL, StandInReward, serving, until

FAULTS = [answers_500, half_json, half_a_body, resets]
PLAIN = {"samples": 4}
STREAMED = {"samples": 4, "seconds": 20}
"""A budget of seconds makes calls streams, of which what has finished is kept."""


@dataclass
class Served:
    """A service and its replicas, of which `home` is the one that this prompt goes to first."""

    client: httpx.AsyncClient
    home: FaultyVllm
    others: list[FaultyVllm]
    killing: dict[str, AsyncExitStack]

    async def ask(self, budget: dict, **body) -> httpx.Response:
        scaling = {"strategy": "majority", "budget": budget} | body.pop("scaling", {})
        request = {"model": MODEL, "messages": MESSAGES, "scaling": scaling} | body
        return await self.client.post("/v1/chat/completions", json=request)

    async def kill(self, replica: FaultyVllm) -> None:
        await self.killing[replica.url].aclose()

    async def metrics(self) -> dict[str, float]:
        """What is counted of `home`."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        of_home = f'{{model="{MODEL}",replica="{self.home.url}"}} '
        return {
            name.removeprefix("aliquot_replica_"): float(value)
            for name, found, value in (line.partition(of_home) for line in lines)
            if found
        }


@asynccontextmanager
async def replicas(count: int, **config):
    async with AsyncExitStack() as stack:
        killing: dict[str, AsyncExitStack] = {}
        servers = []
        for _ in range(count):
            alone = await stack.enter_async_context(AsyncExitStack())
            servers.append(await alone.enter_async_context(faulty()))
            killing[servers[-1].url] = alone
        models = [{"name": MODEL, "urls": [server.url for server in servers]}]
        url = await stack.enter_async_context(listening({"models": models} | config))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20))
        served = Served(client, servers[0], servers[1:], killing)
        assert (await served.ask(PLAIN)).status_code == 200
        served.home = next(server for server in servers if server.completions)
        served.others = [server for server in servers if server is not served.home]
        yield served


@pytest.fixture
async def two():
    async with replicas(2) as served:
        yield served


@pytest.fixture
async def single():
    async with replicas(1) as served:
        yield served


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)


def completes(response: httpx.Response, tokens: int = 4 * len("fine")) -> None:
    """The four samples that the other replica drew, and they alone, are charged."""
    reply = response.json()
    assert response.status_code == 200, response.text
    assert reply["choices"][0]["message"]["content"] == "fine"
    assert reply["usage"]["completion_tokens"] == tokens
    assert reply["scaling"]["spent"]["samples"] == 4
    assert reply["scaling"]["stopped_because"] == "completed"
    assert reply["scaling"]["warnings"] == []


@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_replica_that_answers_nonsense_costs_nothing_but_time(two, fault, budget):
    two.home.fault = fault
    completes(await two.ask(budget))
    assert await two.metrics() == {"in_service": 0, "ejections_total": 1, "calls_repeated_total": 1}


@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_a_replica_killed_in_the_middle_of_a_call_is_replaced(two, budget):
    two.home.engine = ScriptedEngine(["x" * 1000] * 4, step_seconds=0.01)
    asking = asyncio.create_task(two.ask(budget))
    await until(lambda: two.home.engine.generated > 4 or (budget is PLAIN and two.home.running == 4))
    await two.kill(two.home)
    completes(await asking)
    completes(await two.ask(budget))


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_a_replica_that_hangs_is_replaced(two, budget):
    two.home.hung = True
    completes(await two.ask(budget))
    two.home.hung = False


@pytest.mark.usefixtures("hurried")
async def test_a_stream_that_goes_silent_with_its_replica_goes_on_elsewhere(two):
    two.home.fault = breaks_after(piece(2, "fine", "stop"), piece(0, "half"), silent=True)
    asking = asyncio.create_task(two.ask(STREAMED))
    await until(lambda: two.home.completions == 2)
    two.home.hung = True
    completes(await asking)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_a_slow_replica_is_waited_for(two, budget):
    two.home.engine = ScriptedEngine(["slow"] * 4, step_seconds=0.05)
    reply = (await two.ask(budget)).json()
    assert reply["choices"][0]["message"]["content"] == "slow"
    assert await two.metrics() == {"in_service": 1, "ejections_total": 0, "calls_repeated_total": 0}


@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_single_replica_that_fails_is_told_and_asked_again(single, fault, budget):
    single.home.fault = fault
    response = await single.ask(budget)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "engine_unavailable"
    assert "secret" not in response.text
    single.home.fault = None
    assert (await single.ask(budget)).status_code == 200


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_a_single_replica_that_hangs_is_told_before_the_deadline(single, budget):
    single.home.hung = True
    response = await single.ask(budget)
    assert response.status_code == 503
    assert (await single.client.get("/readyz")).status_code == 503
    assert (await single.ask(budget)).status_code == 503
    assert single.home.asked.count("/tokenize") == 2  # the second request fails without a call
    single.home.hung = False
    async with asyncio.timeout(5):
        while (await single.client.get("/readyz")).status_code == 503:
            await asyncio.sleep(0.01)
    assert (await single.ask(budget)).status_code == 200


async def test_a_deadline_sooner_than_that_holds(single):
    single.home.hung = True
    response = await single.ask({"samples": 4, "seconds": 0.2})
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_before_first_answer"


@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_when_all_are_down_that_is_told(two, budget):
    for replica in (two.home, *two.others):
        await two.kill(replica)
    for _ in range(2):
        response = await two.ask(budget)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "engine_unavailable"
        assert "127.0.0.1" not in response.text
    assert (await two.client.get("/readyz")).status_code == 503


async def test_one_replica_is_enough_to_be_ready(two):
    await two.kill(two.home)
    assert (await two.client.get("/readyz")).status_code == 200


async def test_what_had_finished_is_kept_where_no_other_can_go_on(single):
    single.home.fault = breaks_after(piece(2, "kept", "stop"), piece(0, "ha"))
    reply = (await single.ask(STREAMED)).json()
    assert reply["choices"][0]["message"]["content"] == "kept"
    assert reply["scaling"]["stopped_because"] == "engine_failed"
    assert reply["usage"]["completion_tokens"] == len("kept" + "ha")
    assert any("broke" in warning for warning in reply["scaling"]["warnings"])


async def test_an_answer_that_is_being_told_is_not_begun_again(two):
    two.home.fault = breaks_after(piece(0, "ha"))
    response = await two.ask({"samples": 1, "seconds": 20}, stream=True)
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    told = [json.loads(event) for event in events]
    deltas = [choice["delta"].get("content") for event in told for choice in event.get("choices", ())]
    assert "".join(filter(None, deltas)) == "ha"
    assert told[-1]["error"]["code"] == "engine_unavailable"
    text = (await two.client.get("/metrics")).text
    assert f'aliquot_generated_tokens_total{{model="{MODEL}",strategy="majority"}} {16 + len("ha")}.0' in text
    assert "middle of its answer" in told[-1]["error"]["message"]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("budget", [PLAIN, STREAMED])
async def test_a_reward_model_that_hangs_plays_no_part(budget):
    class Hanging(StandInReward):
        async def _pooling(self, request):
            await asyncio.sleep(3600)

    app = Hanging(lambda _: 0.5).app()
    app.router.add_get("/health", hangs)
    async with serving(app) as reward:
        verifier = {"name": "rm", "kind": "outcome_reward", "url": reward, "model": "rm"}
        async with replicas(1, verifiers=[verifier]) as served:
            scaling = {"strategy": "best_of_n", "verifier": "rm", "budget": budget}
            response = await served.ask(budget, scaling=scaling)
    assert response.status_code == 200
    (warning,) = response.json()["scaling"]["warnings"]
    assert "rm gave no scores" in warning
    assert "stopped answering" in warning
