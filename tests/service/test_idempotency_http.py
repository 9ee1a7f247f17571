"""Idempotency-Key over HTTP, on two replicas: whole replies and streams, errors, clients that leave, bad keys."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from engines.base import EngineError
from engines.scripted import ScriptedEngine
from service.settings import Settings
from tests.redis_server import stored
from tests.service.live import MESSAGES, listening
from tests.stand_ins import MODEL, StandInVllm, serving, until

BODY = {"model": MODEL, "messages": MESSAGES, "scaling": {"budget": {"samples": 1}}}


class Replicas:
    """Two services with one store and one engine, and a client of each."""

    def __init__(self, stand_in: StandInVllm, clients: list[httpx.AsyncClient]) -> None:
        self.stand_in = stand_in
        self.clients = clients

    def script(self, script, **options) -> ScriptedEngine:
        self.stand_in.engine = engine = ScriptedEngine(script, **options)
        return engine

    async def post(
        self, replica: int, key: str | list[str], body=BODY, path="/v1/chat/completions", **headers
    ):
        named = [("Idempotency-Key", k) for k in ([key] if isinstance(key, str) else key)]
        headers = [*named, *((name.replace("_", "-"), value) for name, value in headers.items())]
        return await self.clients[replica].post(path, content=json.dumps(body), headers=headers)


@asynccontextmanager
async def replicas_of(**config):
    stand_in = StandInVllm(ScriptedEngine([]))
    settings = stored(Settings())
    async with serving(stand_in.app()) as engine, AsyncExitStack() as stack:
        world = {"models": [{"name": MODEL, "urls": [engine]}], **config}
        urls = [await stack.enter_async_context(listening(world, settings)) for _ in range(2)]
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20)) for url in urls
        ]
        yield Replicas(stand_in, clients)


@pytest.fixture
async def replicas():
    async with replicas_of() as running:
        yield running


async def test_a_request_that_is_sent_again_gets_its_first_reply_on_any_replica(replicas):
    replicas.script(["15"])
    first = await replicas.post(0, "k")
    assert (first.status_code, "idempotent-replayed" in first.headers) == (200, False)
    for replica in (0, 1):
        again = await replicas.post(replica, "k")
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["x-aliquot-strategy"] == first.headers["x-aliquot-strategy"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    metrics = (await replicas.clients[1].get("/metrics")).text
    assert "aliquot_replies_replayed_total 1.0" in metrics
    assert 'aliquot_requests_total{route="/v1/chat/completions",status="200"} 1.0' in metrics


async def test_of_requests_in_flight_at_once_one_runs_and_all_get_its_reply(replicas):
    engine = replicas.script(["x" * 50] * 12, step_seconds=0.002)
    replies = await asyncio.gather(*(replicas.post(n % 2, "k") for n in range(12)))
    assert len(engine.calls) == 1
    assert {reply.content for reply in replies} == {replies[0].content}
    assert sum("idempotent-replayed" in reply.headers for reply in replies) == 11


async def test_a_stream_is_sent_again_whole(replicas):
    replicas.script(["1", "2", "2"])
    body = BODY | {"stream": True, "scaling": {"budget": {"samples": 3}}}
    first = await replicas.post(0, "k", body)
    again = await replicas.post(1, "k", body)
    assert first.text.endswith("data: [DONE]\n\n")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_kept_replies_that_are_sent_at_once_are_bounded(replicas, monkeypatch):
    replicas.script(["15"])
    first = await replicas.post(0, "k")
    monkeypatch.setattr("service.idempotency.MOST_SENDING_BYTES", len(first.content) - 1)
    refused = await replicas.post(1, "k")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert refused.headers["retry-after"] == "1"
    monkeypatch.setattr("service.idempotency.MOST_SENDING_BYTES", len(first.content))
    for _ in range(2):  # what was sent counts no more
        assert (await replicas.post(1, "k")).content == first.content


async def test_another_body_route_or_scaling_is_a_conflict(replicas):
    replicas.script(["15"])
    await replicas.post(0, "k")
    scaling = '{"budget": {"samples": 1}}'
    for other in (
        replicas.post(1, "k", BODY | {"seed": 1}),
        replicas.post(1, "k", path="/v1/scale"),
        replicas.post(1, "k", path="/v1/chat/completions?a=b"),
        replicas.post(1, "k", X_Aliquot_Scaling=scaling),
    ):
        refused = await other
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert refused.headers["x-should-retry"] == "false"


async def test_a_mistake_of_the_request_is_kept_and_a_failure_is_tried_again(replicas):
    replicas.script([EngineError("broken"), "15"])
    assert (await replicas.post(0, "failing")).status_code == 503
    assert (await replicas.post(1, "failing")).status_code == 200
    wrong = BODY | {"scaling": {"strategy": "luck"}}
    assert (await replicas.post(0, "wrong", wrong)).status_code == 422
    again = await replicas.post(1, "wrong", wrong)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (422, "true")


async def test_a_stream_that_failed_is_tried_again(replicas):
    replicas.script([EngineError("broken"), "15"])
    body = BODY | {"stream": True, "scaling": {"budget": {"samples": 2}}}
    replicas.script([EngineError("a"), EngineError("b"), "15", "15"])
    failed = await replicas.post(0, "k", body)
    assert failed.status_code == 200
    assert 'data: {"error":' in failed.text
    again = await replicas.post(1, "k", body)
    assert "idempotent-replayed" not in again.headers
    assert 'data: {"error":' not in again.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_key(replicas, stream):
    replicas.script(["x" * 10_000], step_seconds=0.01)
    body = BODY | {"stream": stream}
    leaving = asyncio.create_task(replicas.post(0, "k", body))
    await until(lambda: replicas.stand_in.running == 1)
    leaving.cancel()
    await until(lambda: replicas.stand_in.running == 0)
    replicas.script(["15"])
    again = await replicas.post(1, "k", body)
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)


async def test_a_client_that_leaves_while_it_waits_leaves_the_run_alone(replicas):
    engine = replicas.script(["x" * 100], step_seconds=0.005)
    running = asyncio.create_task(replicas.post(0, "k"))
    await until(lambda: replicas.stand_in.running == 1)
    waiting = asyncio.create_task(replicas.post(1, "k"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    assert (await running).status_code == 200
    assert (await replicas.post(1, "k")).headers["idempotent-replayed"] == "true"
    assert len(engine.calls) == 1


async def test_a_reply_above_the_limit_is_not_kept():
    async with replicas_of(limits={"idempotent_bytes": 2_000}) as replicas:
        for stream in (False, True):
            replicas.script(["x" * 3_000, "y"])
            body = BODY | {"stream": stream}
            long = await replicas.post(0, f"{stream}", body)
            again = await replicas.post(1, f"{stream}", body)
            assert len(long.content) > 2_000 > len(again.content)
            assert "idempotent-replayed" not in again.headers
            kept = await replicas.post(0, f"{stream}", body)
            assert (kept.content, kept.headers["idempotent-replayed"]) == (again.content, "true")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "k\xe4", ["a", "b"], ["a", "a"]])
async def test_a_key_that_cannot_be_used_is_refused(replicas, key):
    keys = [k.encode("latin-1") for k in ([key] if isinstance(key, str) else key)]
    refused = await replicas.post(0, keys)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_keys_that_look_like_others_are_their_own(replicas):
    replicas.script(str(n) for n in range(5))
    keys = ("a", "a:b", "a%3Ab", "A", "a b ~")
    replies = [(await replicas.post(0, key)).json()["choices"][0]["message"]["content"] for key in keys]
    assert replies == ["0", "1", "2", "3", "4"]


async def test_a_body_is_bounded_before_it_is_kept(replicas):
    async with replicas_of(limits={"body_bytes": 1_000}) as small:
        refused = await small.post(0, "k", BODY | {"user": "x" * 500, "stop": "y" * 500})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


async def test_an_admin_route_takes_no_key(replicas):
    refused = await replicas.post(0, "k", path="/v1/admin/keys")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_without_the_store_a_keyed_request_is_a_503_and_the_others_are_answered():
    stand_in = StandInVllm(ScriptedEngine(["15"] * 4))
    async with serving(stand_in.app()) as engine:
        world = {"models": [{"name": MODEL, "urls": [engine]}]}
        async with (
            listening(world, Settings(redis_url="redis://127.0.0.1:9")) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            refused = await client.post("/v1/chat/completions", json=BODY, headers={"Idempotency-Key": "k"})
            answered = await client.post("/v1/chat/completions", json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert "retry-after" in refused.headers
    assert answered.status_code == 200
    assert len([path for path, _ in stand_in.requests if path == "/v1/completions"]) == 1


async def test_a_replica_that_is_killed_frees_its_key(replicas, monkeypatch):
    monkeypatch.setattr("service.idempotency.LEASE_SECONDS", 0.3)
    monkeypatch.setattr("service.idempotency.Claim.release", _nothing)
    replicas.script([EngineError("as if the process were gone"), "15"])
    assert (await replicas.post(0, "k")).status_code == 503
    again = await replicas.post(1, "k")
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)


async def _nothing(_) -> None:
    pass
