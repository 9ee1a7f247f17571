"""Jobs over HTTP."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from service.journal_file import read_journal
from service.replaying import replay
from tests.service.jobs.replicas import body, replicas
from tests.stand_ins import until
from verifiers.workers import Workers

ANSWERS = ["15", "15", "14", "15"]


@pytest.fixture(autouse=True)
def quiet():
    with capture_logs():
        yield


async def ended(client, id):
    async with asyncio.timeout(10):
        while (job := (await client.get(f"/v1/jobs/{id}")).json())["status"] in ("queued", "running"):
            await asyncio.sleep(0.01)
    return job


def events_in(text):
    """The pairs of id and data in a stream of events."""
    parts = [part for part in text.split("\n\n") if part.startswith("id: ")]
    return [(part.split("\n")[0][4:], json.loads(part.split("\n")[1][6:])) for part in parts]


async def test_a_job_is_accepted_run_and_told_of():
    async with replicas(ANSWERS) as some:
        client = await some.client()
        accepted = await client.post("/v1/jobs", content=body())
        assert accepted.status_code == 202
        job = accepted.json()
        assert accepted.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["object"], job["status"], job["attempts"]) == ("scaling.job", "queued", 0)
        assert "tenant" not in job
        done = await ended(client, job["id"])
        assert (done["status"], done["attempts"], done["error"]) == ("completed", 1, None)
        assert done["result"]["object"] == "scaling.outcome"
        assert done["result"]["candidates"][0]["text"] == "15"


async def test_what_scale_refuses_is_refused_when_it_is_submitted():
    async with replicas() as some:
        client = await some.client()
        for wrong, status, code in (
            ({"model": "other"}, 404, "model_not_found"),
            ({"scaling": {"strategy": "luck"}}, 422, "unknown_strategy"),
            ({"scaling": {"budget": {"samples": 100_000}}}, 400, "above_limit"),
            ({"stop": ""}, 400, "invalid_value"),
            ({"stream": True}, 400, "invalid_value"),
            ({"color": "red"}, 400, "unknown_parameter"),
            ({"webhook": "https://example.com/"}, 422, "webhook_not_allowed"),
        ):
            refused = await client.post("/v1/jobs", content=body(**wrong))
            assert refused.status_code == status, refused.text
            assert refused.json()["error"]["code"] == code, refused.text
        assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_job_that_there_is_not_is_a_404_on_every_route_whatever_its_id():
    async with replicas() as some:
        client = await some.client()
        for id in ("job_0", "%2e%2e", "a%0d%0ab", "x" * 5_000, "job:*", "queue"):
            for method, path in (
                ("GET", ""),
                ("DELETE", ""),
                ("GET", "/events"),
                ("GET", "/journal"),
            ):
                answer = await client.request(method, f"/v1/jobs/{id}{path}")
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found"), (
                    answer.text
                )
                assert len(answer.text) < 500


async def test_pages_hold_each_job_once_newest_first_while_others_come():
    async with replicas() as some:
        client = await some.client(jobs_at_once=0)
        ids = [(await client.post("/v1/jobs", content=body())).json()["id"] for _ in range(5)]
        page = (await client.get("/v1/jobs", params={"limit": 2})).json()
        seen = [job["id"] for job in page["data"]]
        while page["has_more"]:
            await client.post("/v1/jobs", content=body())
            page = (await client.get("/v1/jobs", params={"limit": 2, "after": seen[-1]})).json()
            seen += [job["id"] for job in page["data"]]
        assert seen == ids[::-1]
        assert len((await client.get("/v1/jobs")).json()["data"]) == 7
        for wrong in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "²"}):
            assert (await client.get("/v1/jobs", params=wrong)).status_code == 400
        assert (await client.get("/v1/jobs", params={"after": "job_0"})).status_code == 404


async def test_a_listener_that_comes_back_gets_what_it_has_not_seen_and_204_after_the_end():
    async with replicas(ANSWERS) as some:
        client = await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        whole = (await client.get(f"/v1/jobs/{id}/events")).text
        assert whole.endswith("data: [DONE]\n\n")
        events = events_in(whole)
        assert all(data["object"] == "scaling.event" for _, data in events)
        assert events[-1][1]["status"] == "completed"
        for seen in range(len(events) - 1):
            rest = await client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": events[seen][0]})
            assert events_in(rest.text) == events[seen + 1 :]
        last = await client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": events[-1][0]})
        assert (last.status_code, last.text) == (204, "")


@pytest.mark.parametrize("given", ["x", "1", "1-", "-1", "1-2-3", f"{2**64}-0", "1-²", "$", "(1-1", "+"])
async def test_a_last_event_id_that_is_none_is_refused(given):
    async with replicas() as some:
        client = await some.client(jobs_at_once=0)
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        answer = await client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": given.encode()})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "Last-Event-ID"


async def test_a_cancelled_job_ends_at_once_and_its_calls_to_the_engine_with_it():
    async with replicas() as some:
        some.script(["1" * 5_000] * 4, step_seconds=0.01)
        client, other = await some.client(), await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        await until(lambda: some.stand_in.running == 4)
        cancelled = (await other.delete(f"/v1/jobs/{id}")).json()
        assert cancelled["status"] == "cancelled"
        await until(lambda: some.stand_in.running == 0)
        again = (await client.delete(f"/v1/jobs/{id}")).json()
        assert again == cancelled
        job = await ended(client, id)
        assert (job["status"], job["result"]) == ("cancelled", None)
        events = events_in((await client.get(f"/v1/jobs/{id}/events")).text)
        assert [data["status"] for _, data in events if data["event"] == "job"] == [
            "queued",
            "running",
            "cancelled",
        ]


async def test_a_job_that_is_cancelled_while_it_waits_is_never_run():
    async with replicas() as some:
        client = await some.client(jobs_at_once=0)
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        assert (await client.delete(f"/v1/jobs/{id}")).json()["status"] == "cancelled"
        assert (await client.get(f"/v1/jobs/{id}/journal")).json()["error"]["code"] == "no_journal"
        engine = some.script(ANSWERS)
        runner = await some.client()
        other = (await runner.post("/v1/jobs", content=body())).json()["id"]
        assert (await ended(runner, other))["status"] == "completed"
        assert len(engine.calls) == 1


async def test_a_completed_job_stays_completed_where_it_is_cancelled():
    async with replicas(ANSWERS) as some:
        client = await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        done = await ended(client, id)
        assert (await client.delete(f"/v1/jobs/{id}")).json()["status"] == "completed"
        assert await ended(client, id) == done


async def test_a_journal_is_a_file_once_the_job_has_ended_and_running_it_again_gives_the_same_result():
    async with replicas() as some:
        engine = some.script(["15" + " " * 100, "14"] * 2, step_seconds=0.005)
        client = await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        await until(lambda: engine.calls)
        early = await client.get(f"/v1/jobs/{id}/journal")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "job_not_ended")
        await ended(client, id)
        answer = await client.get(f"/v1/jobs/{id}/journal")
        assert answer.headers["content-disposition"] == f'attachment; filename="{id}.jsonl"'
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert (lines[0]["object"], lines[0]["id"]) == ("aliquot.journal", id)
        assert lines[-1]["result"]["id"] == id
    workers = Workers()
    again = await replay(read_journal(answer.content), workers)
    await workers.close()
    assert again.differences == ()


async def test_each_metric_of_jobs_counts():
    async with replicas(ANSWERS) as some:
        client = await some.client()
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        await ended(client, id)
        text = (await client.get("/metrics")).text
        assert 'aliquot_jobs_total{status="completed"} 1.0' in text
        assert "aliquot_job_attempts_total 1.0" in text
        assert (
            'aliquot_runs_total{model="stand-in",stopped_because="completed",strategy="majority"} 1.0' in text
        )


async def test_more_listeners_than_are_taken_are_refused(monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.MOST_LISTENERS", 0)
    async with replicas() as some:
        client = await some.client(jobs_at_once=0)
        id = (await client.post("/v1/jobs", content=body())).json()["id"]
        answer = await client.get(f"/v1/jobs/{id}/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_listeners")
