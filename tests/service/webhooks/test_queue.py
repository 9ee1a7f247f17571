"""Events are told once, also by another replica, again where that may help, and a dead host holds nobody up."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from service.settings import Settings
from service.store.client import Store
from service.webhook_settings import WebhooksConfig
from service.webhooks import queue
from service.webhooks.queue import Webhooks
from tests.redis_server import stored
from tests.service.webhooks.receiver import Receiver
from tests.stand_ins import serving, until

JOB = {"id": "job_1", "status": "completed"}


@asynccontextmanager
async def replica(settings: Settings, hosts: list[str], **config):
    """One service's webhooks and its store; `start` has it post."""
    store = Store(settings)
    await store.start()
    told = Webhooks(store, WebhooksConfig(hosts=hosts, **config))
    try:
        yield told
    finally:
        await told.close()
        await store.stop()


@pytest.fixture
def settings():
    return stored(Settings())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(queue, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(queue, "REST", 0.01)
    monkeypatch.setattr(queue, "BUSY", 0.01)
    monkeypatch.setattr(queue, "LOOK", 0.02)


async def due(webhooks: Webhooks) -> int:
    async with webhooks._store.exchange() as redis:
        return await redis.zcard(webhooks._store.key("webhooks", "due"))


async def nothing_due(webhooks: Webhooks) -> None:
    async with asyncio.timeout(10):
        while await due(webhooks):
            await asyncio.sleep(0.01)


async def test_an_event_is_posted_once_however_often_it_is_put_and_whoever_puts_it(settings):
    receiver = Receiver(200)
    async with (
        serving(receiver.app()) as url,
        replica(settings, [url]) as one,
        replica(settings, [url]) as other,
    ):
        for webhooks in (one, other):
            webhooks.start()
        for webhooks in (one, other) * 3:
            await webhooks.tell(url + "/done", "job.completed", 1, JOB)
        await nothing_due(one)
        await one.tell(url + "/done", "job.completed", 1, JOB)
        assert await due(one) == 0
    ((headers, body),) = receiver.heard
    assert headers["webhook-id"] == "evt_job_1_completed"
    assert json.loads(body) == {
        "id": "evt_job_1_completed",
        "object": "event",
        "type": "job.completed",
        "created_at": 1,
        "data": JOB,
    }


@pytest.mark.parametrize(
    ("statuses", "calls", "taken"),
    [([500, 429, 200], 3, True), ([503], 3, False), ([404], 1, False), ([302], 1, False)],
)
async def test_a_failure_is_tried_again_under_the_same_id_and_a_refusal_is_not(
    settings, statuses, calls, taken
):
    receiver = Receiver(*statuses)
    with capture_logs() as logs:
        async with serving(receiver.app()) as url, replica(settings, [url], tries=3) as webhooks:
            webhooks.start()
            await webhooks.tell(url, "job.completed", 1, JOB)
            await nothing_due(webhooks)
    assert [headers["webhook-id"] for headers, _ in receiver.heard] == ["evt_job_1_completed"] * calls
    assert [line["event"] for line in logs] == ([] if taken else ["webhook_not_delivered"])


async def test_an_event_of_a_replica_that_died_is_told_by_another(settings, monkeypatch):
    monkeypatch.setattr(queue, "TAKE", queue.Script(queue.TAKE._source.replace("60000", "100")))
    receiver = Receiver(200)
    async with (
        serving(receiver.app()) as url,
        replica(settings, [url]) as dead,
        replica(settings, [url]) as other,
    ):
        await dead.tell(url, "job.completed", 1, JOB)
        async with dead._store.exchange() as redis:
            assert len(await queue.TAKE(redis, dead._root, 16)) == 1, "taken, and then it died"
        other.start()
        await nothing_due(other)
    assert len(receiver.heard) == 1


async def test_a_dead_host_holds_up_no_other(settings, monkeypatch):
    monkeypatch.setattr(queue, "REST", 60.0)
    receiver, dead = Receiver(200), Receiver(500)
    async with (
        serving(receiver.app()) as url,
        serving(dead.app()) as dead_url,
        replica(settings, [url, dead_url]) as webhooks,
    ):
        for n in range(40):
            await webhooks.tell(dead_url, "job.completed", 1, {"id": f"dead-{n}"})
        for n in range(10):
            await webhooks.tell(url, "job.completed", 1, {"id": f"alive-{n}"})
        webhooks.start()
        await until(lambda: len(receiver.heard) == 10)
        assert len(dead.heard) <= queue.PER_HOST
        assert await due(webhooks) == 40


async def test_a_host_that_is_listed_no_more_is_not_called(settings):
    receiver = Receiver(200)
    with capture_logs() as logs:
        async with serving(receiver.app()) as url, replica(settings, ["hooks.example"]) as webhooks:
            webhooks.start()
            await webhooks.tell(url, "job.completed", 1, JOB)
            await nothing_due(webhooks)
    assert (receiver.heard, logs[0]["why"]) == ([], "webhook_not_allowed")


async def test_events_are_forgotten_in_time(settings):
    async with replica(settings, ["hooks.example"]) as webhooks:
        await webhooks.tell("https://hooks.example", "job.completed", 1, JOB)
        async with webhooks._store.exchange() as redis:
            key = webhooks._store.key("webhook", "evt_job_1_completed")
            assert 0 < await redis.ttl(key) <= queue.KEPT_SECONDS
            await redis.delete(key)
        webhooks.start()
        await nothing_due(webhooks)


async def test_without_hosts_nobody_looks_for_events(settings):
    async with replica(settings, []) as webhooks:
        webhooks.start()
        assert webhooks._loop is None
