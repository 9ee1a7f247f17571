import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from service.calibration import asking
from service.calibration.asking import Asking, LeftOut, Refused
from service.calibration.data import Response
from service.calibration.log import Settings
from tests.service.calibration.problems import problem

CANDIDATE = {"text": "15", "answer": "15", "score": 0.5, "tokens": 3, "finish_reason": "stop"}
TWO = [CANDIDATE, CANDIDATE | {"finish_reason": "length", "score": None}]
OUTCOME = {"candidates": TWO, "scaling": {"stopped_because": "completed", "warnings": []}}
SETTINGS = Settings("m", 2)
SCORED = Settings("m", 2, "orm")
BUSY = httpx.Response(503, json={"error": {"message": "Busy.", "code": "engine_unavailable"}})


class Service:
    """A service that gives `replies` one after the other, the last one for ever; an exception is raised."""

    def __init__(self, *replies) -> None:
        self.replies = list(replies)
        self.bodies: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def ask(self, settings: Settings = SETTINGS, stopping: asyncio.Event | None = None):
        transport = httpx.MockTransport(self)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await Asking(client, settings, "number", stopping or asyncio.Event()).responses(problem())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.0)


def error(status: int, message: str, **more) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "param": None, "code": "x"} | more})


async def test_responses_come_with_tokens_scores_and_whether_they_ended():
    found = await Service(httpx.Response(200, json=OUTCOME)).ask()
    assert found == (Response("15", 3, True, 0.5), Response("15", 3, False, None))


async def test_the_request_says_how_samples_are_drawn_and_is_seeded_by_the_problem():
    service = Service(httpx.Response(200, json=OUTCOME))
    await service.ask(Settings("m", 2, "orm", 99, 0.5))
    await service.ask()
    scored, plain = service.bodies
    assert scored["scaling"] == {
        "strategy": "best_of_n",
        "budget": {"samples": 2},
        "verifier": "orm",
        "answer": {"format": "number"},
    }
    assert (scored["max_tokens"], scored["temperature"]) == (99, 0.5)
    assert (plain["scaling"]["strategy"], plain["scaling"]["verifier"]) == ("majority", None)
    assert scored["seed"] == plain["seed"] == int(problem().identity[:12], 16)


@pytest.mark.parametrize(
    "trouble",
    [BUSY, error(429, "Slow down."), error(500, "A bug."), httpx.ReadError("x"), httpx.ConnectError("x")],
)
async def test_what_passes_is_tried_again(trouble):
    service = Service(trouble, trouble, httpx.Response(200, json=OUTCOME))
    assert len(await service.ask()) == 2
    assert len(service.bodies) == 3


async def test_what_does_not_pass_leaves_the_problem_out():
    service = Service(BUSY)
    with pytest.raises(LeftOut, match=r"Busy\."):
        await service.ask()
    assert len(service.bodies) == asking.TRIES


@pytest.mark.parametrize(
    "reply",
    [
        error(400, "Too long.", param="messages", code="context_length_exceeded"),
        error(400, "Too long.", param="max_tokens", code="context_length_exceeded"),
        error(400, "Too long.", param="messages.0.content"),
        error(400, "Too long.", code="engine_refused"),
        error(413, "Too long."),
        error(504, "Too long.", code="deadline_before_first_answer"),
    ],
)
async def test_what_is_wrong_with_one_problem_leaves_it_out_at_once(reply):
    service = Service(reply)
    with pytest.raises(LeftOut, match=r"Too long\."):
        await service.ask()
    assert len(service.bodies) == 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (error(404, "There is no model."), "There is no model."),
        (error(422, "There is no verifier.", param="scaling.verifier"), "There is no verifier."),
        (
            error(400, "At most 1.", param="scaling.budget.samples", code="above_limit"),
            "--samples 2 is above the service's limits.samples. Lower --samples, or raise limits.samples",
        ),
        (httpx.Response(404, text="<html>"), "answered 404; is it an Aliquot?"),
        (httpx.Response(404, json=["error"]), "answered 404; is it an Aliquot?"),
        (httpx.Response(404, json={"error": "no"}), "answered 404; is it an Aliquot?"),
        (httpx.Response(200, text="<html>"), "did not answer an outcome"),
        (httpx.Response(200, json={"candidates": [{"text": "x"}]}), "did not answer an outcome"),
        (httpx.Response(200, json={"candidates": TWO}), "did not answer an outcome"),
    ],
)
async def test_what_every_problem_would_meet_ends_the_calibration(reply, says):
    service = Service(reply)
    with pytest.raises(Refused) as refused:
        await service.ask()
    assert says in str(refused.value)
    assert len(service.bodies) == 1


def outcome(why: str = "completed", warnings=(), candidates=TWO) -> httpx.Response:
    scaling = {"stopped_because": why, "warnings": list(warnings)}
    return httpx.Response(200, json={"candidates": candidates, "scaling": scaling})


@pytest.mark.parametrize("why", ["budget_tokens", "budget_usd", "accepted", "x"])
async def test_a_run_that_the_service_will_always_end_early_ends_the_calibration(why):
    service = Service(outcome(why))
    with pytest.raises(Refused) as refused:
        await service.ask()
    mend = "Raise limits.tokens in the service's configuration, or set --max-tokens"
    assert (mend if why == "budget_tokens" else why) in str(refused.value)
    assert len(service.bodies) == 1


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (outcome("engine_failed", ["The engine stalled."], [CANDIDATE]), r"The engine stalled\."),
        (outcome("engine_failed"), "The engine failed"),
        (outcome(candidates=[CANDIDATE]), "answered 1 of 2 samples"),
        (outcome(candidates=[]), "answered 0 of 2 samples"),
        (outcome(warnings=["Something else."], candidates=[CANDIDATE]), "answered 1 of 2 samples"),
    ],
)
async def test_a_run_that_is_not_whole_is_tried_again_and_else_left_out(trouble, says):
    recovered = Service(trouble, outcome())
    assert len(await recovered.ask()) == 2
    assert len(recovered.bodies) == 2
    lasting = Service(trouble)
    with pytest.raises(LeftOut, match=says):
        await lasting.ask()
    assert len(lasting.bodies) == asking.TRIES


async def test_a_run_that_time_ended_leaves_the_problem_out():
    service = Service(outcome("budget_seconds"))
    with pytest.raises(LeftOut, match=r"Raise limits\.seconds .* or lower --concurrency"):
        await service.ask()
    assert len(service.bodies) == 1


async def test_what_is_left_of_samples_some_of_which_failed_is_kept():
    told = "1 of 2 samples failed; the others were used."
    assert len(await Service(outcome(warnings=[told], candidates=[CANDIDATE])).ask()) == 1


async def test_a_verifier_that_scores_nothing_leaves_the_problem_out():
    bare = [CANDIDATE | {"score": None}] * 2
    told = "orm gave no scores, so they play no part: It is down."
    for warnings, says in (([told], "It is down"), ([], "orm scored none of the responses")):
        with pytest.raises(LeftOut, match=says):
            await Service(outcome(warnings=warnings, candidates=bare)).ask(SCORED)
    assert len(await Service(outcome(candidates=bare)).ask()) == 2


async def test_a_text_that_utf_8_cannot_write_reaches_the_service():
    service = Service(outcome())
    odd = replace(problem(), messages=({"role": "user", "content": "\ud800"},))
    transport = httpx.MockTransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        await Asking(client, SETTINGS, "number", asyncio.Event()).responses(odd)
    assert service.bodies[0]["messages"][0]["content"] == "\ud800"


@pytest.mark.parametrize(("header", "pause"), [("7", 7.0), ("1e9", 60.0), ("-3", 0.0), ("nan", 0.0)])
async def test_retry_after_is_the_pause(monkeypatch, header, pause):
    waited = []

    async def stopped(self, seconds):
        waited.append(seconds)
        return False

    monkeypatch.setattr(Asking, "_stopped", stopped)
    busy = httpx.Response(429, headers={"Retry-After": header}, json={})
    await Service(busy, httpx.Response(200, json=OUTCOME)).ask()
    assert waited == [pause]


async def test_pauses_grow_and_a_date_is_no_number_of_seconds(monkeypatch):
    waited = []

    async def stopped(self, seconds):
        waited.append(seconds)
        return False

    monkeypatch.setattr(Asking, "_stopped", stopped)
    monkeypatch.setattr(asking, "FIRST_PAUSE", 8.0)
    date = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    with pytest.raises(LeftOut):
        await Service(httpx.Response(503, headers=date, json={})).ask()
    assert len(waited) == asking.TRIES - 1
    assert all(low <= seconds <= 2 * low for seconds, low in zip(waited, (4, 8, 16), strict=True))


async def test_a_stop_ends_the_waiting():
    stopping = asyncio.Event()
    stopping.set()
    busy = httpx.Response(503, headers={"Retry-After": "60"}, json={})
    service = Service(busy)
    with pytest.raises(LeftOut):
        await service.ask(stopping=stopping)
    assert len(service.bodies) == 1
