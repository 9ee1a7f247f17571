"""POST /v1/feedback: counted once, and it moves the profile."""

import asyncio
import json
import os
import signal

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from budgets.prediction import CURVES, Options
from budgets.profiles import Profile
from engines.launch import free_port
from service.profile_replies import Feedback
from service.records import Records
from service.routes import feedback as route
from service.settings import Settings, load_settings
from service.store import embedded
from service.store.client import Store
from tests.service.live import live
from tests.service.store.test_embedded import server_of
from tests.stand_ins import MODEL


async def told(served, id, correct, status=200, **more):
    response = await served.client.post("/v1/feedback", json={"id": id, "correct": correct} | more)
    assert response.status_code == status, response.text
    if status == 200:
        Feedback.model_validate(response.json())
    return response.json()


async def asked(served, **scaling):
    served.script(["15"] * 64)
    return (await served.chat(scaling={"budget": {"samples": 4}} | scaling)).json()["id"]


@pytest.fixture
async def records(monkeypatch):
    """The records of the service that is started next."""
    made = []
    original = Records.__init__

    def note(self, *arguments) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Records, "__init__", note)
    return made


async def test_a_verdict_moves_the_profile_of_its_task(served):
    right = await told(served, await asked(served, task="sums"), True)
    assert right["counted"] is True
    assert (right["task"], right["profile"]["task"], right["profile"]["feedback"]) == ("sums", "sums", 1)
    assert right["profile"]["source"] == "prior"
    assert right["profile"]["accuracy"]["value"] > Profile.prior().difficulty.beta.mean
    assert right["warnings"] == []
    wrong = await told(served, await asked(served), False)
    assert wrong["task"] == "default"
    assert wrong["profile"]["accuracy"]["value"] < Profile.prior().difficulty.beta.mean


async def test_it_moves_as_the_strategy_that_ran_predicts(served):
    params = {"select": "softmax", "temperature": 0.5}
    id = await asked(served, strategy="best_of_n", verifier="self_certainty", params=params)
    moved = await told(served, id, True)
    options = Options(select="softmax", temperature=0.5)
    expected = Profile.prior().told("best_of_n", 4, True, options=options, verifier="self_certainty")
    assert moved["profile"]["difficulty"] == pytest.approx(
        {"a": expected.difficulty.beta.a, "b": expected.difficulty.beta.b}
    )


async def test_the_same_verdict_again_is_not_counted_and_the_opposite_is_a_conflict(served):
    id = await asked(served)
    first = await told(served, id, True)
    again = await told(served, id, True)
    assert again == first | {"counted": False}
    conflict = (await told(served, id, False, status=409))["error"]
    assert (conflict["code"], conflict["param"]) == ("feedback_conflict", "correct")
    assert "said to be right before" in conflict["message"]


async def test_metrics_count_each_response_that_is_judged_once(served):
    right, wrong = await asked(served), await asked(served)
    for _ in range(2):
        await told(served, right, True)
        await told(served, wrong, False)
    await told(served, wrong, True, 409)
    text = (await served.client.get("/metrics")).text
    for correct in ("true", "false"):
        labels = f'{{correct="{correct}",model="{MODEL}",strategy="majority"}}'
        assert f"aliquot_feedback_total{labels} 1.0" in text


async def test_a_verdict_may_name_another_task_and_the_first_one_counts(served):
    id = await asked(served, task="sums")
    assert (await told(served, id, True, task="algebra"))["task"] == "algebra"
    again = await told(served, id, True, task="sums")
    assert (again["counted"], again["task"]) == (False, "algebra")
    data = (await served.client.get("/v1/profiles")).json()["data"]
    assert [one["task"] for one in data] == ["algebra"]


async def test_an_outcome_and_a_stream_can_be_judged_too(served):
    served.script(["15"] * 8)
    outcome = (await served.scale(scaling={"budget": {"samples": 2}})).json()
    assert (await told(served, outcome["id"], True))["counted"]
    stream = (await served.chat(stream=True, scaling={"budget": {"samples": 2}})).text
    chunk = json.loads(stream.partition("data: ")[2].partition("\n")[0])
    assert (await told(served, chunk["id"], True))["profile"]["feedback"] == 2


async def test_a_strategy_without_a_prediction_is_counted_and_moves_nothing(served):
    served.script(["15"] * 64)
    id = await asked(served, strategy="particle_filtering", verifier="self_certainty")
    counted = await told(served, id, True)
    prior = Profile.prior().difficulty.beta
    assert counted["profile"]["feedback"] == 1
    assert counted["profile"]["difficulty"] == {"a": prior.a, "b": prior.b}
    assert counted["warnings"] == [
        "The accuracy of particle_filtering is not predicted, so that the verdict was counted and moved nothing."
    ]


def test_the_strategies_that_move_a_profile_are_those_that_are_predicted():
    assert set(route.PREDICTED) == set(CURVES)
    assert {*route.OPTIONS, "k"} == set(Options.__slots__)


async def test_one_of_many_at_once_counts(served):
    id = await asked(served)
    answers = await asyncio.gather(*(told(served, id, True) for _ in range(10)))
    assert [answer["counted"] for answer in answers].count(True) == 1
    assert {answer["profile"]["feedback"] for answer in answers} == {1}


async def test_a_failed_run_leaves_no_response_to_judge(records):
    async def fails(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async with live() as served:
        served.stand_in.fault = fails
        assert (await served.chat()).status_code == 503
        assert records[-1].writer._waiting == {}


@pytest.mark.parametrize("id", ["chatcmpl-0", "*", "../x", "日本", "a:b"])
async def test_an_unknown_id_is_a_404(served, id):
    error = (await told(served, id, True, status=404))["error"]
    assert (error["code"], error["param"]) == ("response_not_found", "id")


@pytest.mark.parametrize(
    "odd",
    [
        {"samples": 0},
        {"samples": -3},
        {"samples": 99_999_999},
        {"samples": True},
        {"k": 0},
        {"params": {"alpha": "x"}},
        {"params": {"alpha": 7}},
        {"params": {"luck": 1}},
        {"params": None},
    ],
)
async def test_facts_that_no_run_has_written_are_a_404_and_a_line_in_the_log(records, served, odd):
    facts = {"model": MODEL, "task": "sums", "strategy": "best_of_majority", "samples": 4}
    store = records[-1]._store
    async with store.exchange() as redis:
        await redis.set(store.key("response", "odd"), json.dumps(facts | odd))
    with capture_logs() as logs:
        error = (await told(served, "odd", True, status=404))["error"]
    assert error["code"] == "response_not_found"
    assert "unreadable_record" in [line["event"] for line in logs]


async def test_a_store_that_refuses_writes_says_so(records, served):
    id = await asked(served, task="sums")
    store = records[-1]._store
    await records[-1].writer.drain()
    async with store.exchange() as redis:
        await redis.set(store.key("profiles"), "another kind of value")
    error = (await told(served, id, True, status=503))["error"]
    assert error["code"] == "store_unavailable"
    assert "refuses" in error["message"]


async def test_an_answer_comes_without_the_store_and_what_it_lacks_is_said():
    async with live(settings=load_settings(redis_url=f"redis://127.0.0.1:{free_port()}")) as served:
        id = await asked(served)
        ready = await served.client.get("/readyz")
        assert (ready.status_code, ready.json()["store"]) == (503, False)
        assert all(ready.json()["engines"].values())
        await told(served, id, True, status=503)

        async def lost() -> bool:
            return "aliquot_responses_not_kept_total 1.0" in (await served.client.get("/metrics")).text

        async with asyncio.timeout(5):
            while not await lost():
                await asyncio.sleep(0.01)


async def test_a_store_killed_in_the_middle_stops_no_answer_and_comes_back_with_all(
    tmp_path, monkeypatch, records
):
    monkeypatch.setattr(embedded, "RESTART_SECONDS", 600)
    settings = Settings(data_dir=tmp_path / "data", log_folder=tmp_path)
    async with live(settings=settings) as served:
        id = await asked(served)
        assert (await told(served, id, True))["profile"]["feedback"] == 1
        store: Store = records[-1]._store
        process = await server_of(store)
        os.kill(process, signal.SIGKILL)
        served.script(["15"] * 64)
        during = await asyncio.gather(*(served.chat(scaling={"budget": {"samples": 2}}) for _ in range(10)))
        assert [response.status_code for response in during] == [200] * 10
        await told(served, id, True, status=503)
    async with live(settings=settings) as served:
        assert (await told(served, id, True))["counted"] is False
        assert (await told(served, await asked(served), True))["profile"]["feedback"] == 2


async def test_what_was_answered_last_is_kept_when_the_service_stops(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", log_folder=tmp_path)
    async with live(settings=settings) as served:
        id = await asked(served)
    async with live(settings=settings) as served:
        assert (await told(served, id, True))["counted"] is True
