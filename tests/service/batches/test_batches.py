"""Batches over HTTP: kept, run, counted, cancelled, told of, and their results in input order."""

import asyncio
import json

import httpx
import pytest

from engines.scripted import ScriptedEngine
from service.batches import batches as batches_module
from service.batches.store import BatchStore
from service.store.client import StoreUnavailable
from tests.service.batches.services import CHAT, SCALE, ask, jsonl, services
from tests.service.webhooks.receiver import Receiver
from tests.stand_ins import serving, until


async def test_a_batch_is_run_and_its_results_come_in_input_order():
    texts = [str(n) for n in range(30)]
    async with services(2) as service:
        made = await service.create(jsonl(texts))
        assert (made["object"], made["status"], made["endpoint"]) == ("batch", "in_progress", CHAT)
        assert made["request_counts"] == {"total": 30, "completed": 0, "failed": 0}
        done = await service.ended(made["id"])
        assert done["status"] == "completed"
        assert done["request_counts"] == {"total": 30, "completed": 30, "failed": 0}
        assert done["completed_at"] >= done["in_progress_at"] == done["created_at"]
        results = await service.results(made["id"], 1)
        assert results == await service.results(made["id"], 0)
    assert [line["custom_id"] for line in results] == [f"id {text}" for text in texts]
    replies = [line["response"]["body"] for line in results]
    assert [reply["choices"][0]["message"]["content"] for reply in replies] == [f"{t}!" for t in texts]
    assert {reply["object"] for reply in replies} == {"chat.completion"}
    assert {line["response"]["status_code"] for line in results} == {200}
    assert {line["error"] for line in results} == {None}


@pytest.mark.parametrize(
    "kind", ["application/jsonl", "application/octet-stream", "text/plain; charset=utf-8", ""]
)
async def test_lines_may_come_as_anything_but_a_json_object(service, kind):
    await service.create(jsonl(["1"]) + "\n", Content_Type=kind)


async def test_a_line_answers_as_its_route_does():
    script = ['{"name": "f", "arguments": {"a": 1}}'] * 2 + ["<think>so</think>15", "15"]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    scaling = {"scaling": {"budget": {"samples": 2}}}
    async with services(script=script, limits={"jobs_at_once": 1}) as service:
        called = await service.create(jsonl(["call"], tools=tools, **scaling))
        await service.ended(called["id"])
        thought = await service.create(jsonl(["think"], n=2, **scaling))
        await service.ended(thought["id"])
        calls, again = [await service.results(called["id"]) for _ in range(2)]
        (thoughts,) = await service.results(thought["id"])
    (choice,) = calls[0]["response"]["body"]["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert calls == again, "the same ids each time"
    first, second = thoughts["response"]["body"]["choices"]
    assert first["message"] == {"role": "assistant", "content": "15", "reasoning_content": "so"}
    assert (second["index"], second["message"]["content"]) == (1, "15")


async def test_a_batch_of_the_native_form_has_whole_outcomes(service):
    made = await service.create(jsonl(["7"], SCALE))
    await service.ended(made["id"])
    (line,) = await service.results(made["id"])
    body = line["response"]["body"]
    assert (body["object"], body["candidates"][0]["text"]) == ("scaling.outcome", "7!")
    told = await service.client.post("/v1/feedback", json={"id": body["id"], "correct": True})
    assert told.status_code == 200


async def test_a_line_that_fails_says_why_and_the_others_are_answered():
    async with services(limits={"job_attempts": 1}) as service:
        made = await service.create(jsonl(["1", "fail", "3"]))
        done = await service.ended(made["id"])
        results = await service.results(made["id"])
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert [line["error"] and line["error"]["code"] for line in results] == [None, "engine_unavailable", None]
    assert results[1]["response"] is None


async def test_lines_that_cannot_be_run_refuse_the_batch_and_are_named(service):
    body = "\n".join([jsonl(["1"]), jsonl(["2"], scaling={"strategy": "luck"}), "{", jsonl(["1"])])
    reply = await service.client.post("/v1/batches", content=body)
    told = reply.json()
    assert (reply.status_code, told["error"]["code"]) == (400, "invalid_batch")
    assert told["error"]["message"].startswith("Line 2: There is no strategy 'luck'.")
    assert told["error"]["param"] == "body.scaling.strategy"
    assert told["errors"]["object"] == "list"
    assert [(fault["code"], fault["line"]) for fault in told["errors"]["data"]] == [
        ("unknown_strategy", 2),
        ("invalid_json_line", 3),
        ("duplicate_custom_id", 4),
    ]
    assert (await service.client.get("/v1/batches")).json()["data"] == []


async def test_a_batch_may_be_larger_than_another_body_and_is_bounded():
    limits = {"body_bytes": 1_000, "batch_bytes": 3_000, "batch_lines": 12}
    async with services(limits=limits) as service:
        texts = [str(n) for n in range(10)]
        assert 1_000 < len(jsonl(texts)) < 3_000
        for headers in ({}, {"Idempotency_Key": "k"}):
            made = await service.create(jsonl(texts), **headers)
            assert (await service.ended(made["id"]))["request_counts"]["completed"] == 10
        large = await service.client.post("/v1/batches", content=jsonl(texts * 3))
        other = await service.client.post("/v1/chat/completions", content=jsonl(texts))
        many = await service.client.post("/v1/batches", content="x\n" * 13)
    assert [reply.status_code for reply in (large, other, many)] == [413, 413, 400]


async def test_so_many_batches_are_taken_at_once_and_others_told_to_come_again(service, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(batches_module, "MOST_CREATING", 0)
        refused = await service.client.post("/v1/batches", content=jsonl(["1"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert refused.headers["retry-after"] == "1"
    await service.create(jsonl(["1"]))


async def test_a_batch_that_is_sent_again_with_its_key_is_the_same_batch():
    async with services(2) as service:
        sent = [
            client.post("/v1/batches", content=jsonl(["1", "2"]), headers={"Idempotency-Key": "k"})
            for client in service.clients * 3
        ]
        ids = {reply.json()["id"] for reply in await asyncio.gather(*sent)}
        assert len(ids) == 1
        assert len((await service.client.get("/v1/batches")).json()["data"]) == 1


async def test_a_batch_that_is_cancelled_ends_with_what_had_been_answered():
    async with services(limits={"jobs_at_once": 1}) as service:
        service.stand_in.engine = ScriptedEngine(["1", *["x" * 100_000] * 9], step_seconds=0.0005)
        made = await service.create(jsonl([str(n) for n in range(5)]))
        path = f"/v1/batches/{made['id']}"
        early = await service.client.get(f"{path}/results")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "batch_not_ended")
        async with asyncio.timeout(10):
            while (await service.client.get(path)).json()["request_counts"]["completed"] < 1:
                await asyncio.sleep(0.01)
        await until(lambda: service.stand_in.running == 1)
        asked = (await service.client.post(f"{path}/cancel")).json()
        assert asked["status"] in ("cancelling", "cancelled")
        done = await service.ended(made["id"])
        assert (done["status"], done["request_counts"]) == (
            "cancelled",
            {"total": 5, "completed": 1, "failed": 0},
        )
        assert done["cancelled_at"] >= done["cancelling_at"]
        await until(lambda: service.stand_in.running == 0)
        results = await service.results(made["id"])
        again = (await service.client.post(f"{path}/cancel")).json()
        assert again == done
    assert results[0]["response"]["status_code"] == 200
    assert [line["error"]["code"] for line in results[1:]] == ["batch_cancelled"] * 4


async def test_results_that_the_store_cannot_give_whole_are_broken_off(service, monkeypatch):
    made = await service.create(jsonl([str(n) for n in range(40)]))
    await service.ended(made["id"])
    asked = 0
    names = BatchStore.names

    async def failing(*given):
        nonlocal asked
        asked += 1
        if asked == at:
            raise StoreUnavailable
        return await names(*given)

    monkeypatch.setattr(BatchStore, "names", failing)
    at = 1
    refused = await service.client.get(f"/v1/batches/{made['id']}/results")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    at = 3
    with pytest.raises(httpx.RemoteProtocolError):
        await service.client.get(f"/v1/batches/{made['id']}/results")


async def test_batches_are_listed_newest_first_in_pages(service):
    ids = [(await service.create(jsonl(["1"])))["id"] for _ in range(5)]
    page = (await service.client.get("/v1/batches?limit=2")).json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[:2:-1], True)
    assert (page["first_id"], page["last_id"]) == (ids[4], ids[3])
    rest = (await service.client.get(f"/v1/batches?limit=3&after={page['last_id']}")).json()
    assert ([batch["id"] for batch in rest["data"]], rest["has_more"]) == (ids[2::-1], False)
    for query, status in (("after=none", 404), ("limit=0", 400)):
        assert (await service.client.get(f"/v1/batches?{query}")).status_code == status


@pytest.mark.parametrize("id", ["batch_0", "..%2f..%2fjobs", "a:b", "%00", "x" * 300])
async def test_what_is_no_batch_is_a_404(service, id):
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/cancel")):
        reply = await service.client.request(method, f"/v1/batches/{id}{path}")
        assert reply.status_code == 404, path


async def test_the_end_of_a_batch_and_of_a_job_is_told():
    receiver = Receiver(200)
    async with serving(receiver.app()) as hook, services(webhooks={"hosts": [hook]}) as service:
        made = await service.create(jsonl(["1", "2"]), X_Aliquot_Webhook=hook + "/batch")
        assert made["webhook"] == hook + "/batch"
        job = (await service.client.post("/v1/jobs", json=ask("1", webhook=hook + "/job"))).json()
        await until(lambda: len(receiver.heard) == 2)
    told = {path: json.loads(body) for path, (_, body) in zip(receiver.paths, receiver.heard, strict=True)}
    batch, ended = told["/batch"], told["/job"]
    assert (batch["type"], batch["data"]["id"]) == ("batch.completed", made["id"])
    assert batch["data"]["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert (ended["type"], ended["data"]["id"], ended["data"]["status"]) == (
        "job.completed",
        job["id"],
        "completed",
    )


async def test_a_webhook_that_is_not_allowed_is_refused_before_anything_is_kept(service):
    for hook, status in (("http://169.254.169.254/", 422), ("not an address", 400)):
        batch = await service.client.post(
            "/v1/batches", content=jsonl(["1"]), headers={"X-Aliquot-Webhook": hook}
        )
        job = await service.client.post("/v1/jobs", json=ask("1", webhook=hook))
        assert (batch.status_code, job.status_code) == (status, status)
    assert (await service.client.get("/v1/batches")).json()["data"] == []
    assert (await service.client.get("/v1/jobs")).json()["data"] == []
