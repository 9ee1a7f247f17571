import pytest
from structlog.testing import capture_logs

from engines.launch import free_port
from service.settings import Settings, load_settings
from service.store import writer
from service.store.client import Store
from service.store.writer import Writer
from tests.redis_server import stored
from tests.stand_ins import until


@pytest.fixture
async def store():
    store = Store(stored(Settings()))
    await store.start()
    yield store
    await store.stop()


async def test_what_is_put_is_kept_soon_for_its_time(store):
    writing = Writer(store)
    writing.put(store.key("a"), b"1", 100)
    writing.put(store.key("b"), b"2", 200)
    assert (writing.waiting(store.key("a")), writing.waiting(store.key("c"))) == (b"1", None)
    await writing.written(store.key("a"))
    assert writing.waiting(store.key("a")) is None
    async with store.exchange() as redis:
        assert await redis.mget(store.key("a"), store.key("b")) == [b"1", b"2"]
        assert 195 < await redis.ttl(store.key("b")) <= 200


async def test_a_drain_writes_all_in_batches(store, monkeypatch):
    monkeypatch.setattr(writer, "BATCH", 7)
    writing = Writer(store)
    keys = [store.key(str(n)) for n in range(50)]
    for key in keys:
        writing.put(key, b"x", 100)
    await writing.drain()
    async with store.exchange() as redis:
        assert await redis.exists(*keys) == 50


async def test_what_comes_after_a_pause_is_written_too(store):
    writing = Writer(store)
    for name in ("a", "b"):
        writing.put(store.key(name), b"x", 100)
        await writing.drain()
    async with store.exchange() as redis:
        assert await redis.exists(store.key("a"), store.key("b")) == 2


async def test_without_the_store_all_is_lost_counted_and_told_once():
    store = Store(load_settings(redis_url=f"redis://127.0.0.1:{free_port()}"))
    await store.start()
    writing = Writer(store)
    lost = []
    writing.on_lost = lost.append
    with capture_logs() as logs:
        for n in range(3):
            writing.put(str(n), b"x", 100)
            await writing.drain()
    assert sum(lost) == 3
    assert [line["event"] for line in logs].count("responses_not_kept") == 1
    assert writing.waiting("0") is None
    await store.stop()


async def test_a_fault_that_nobody_thought_of_leaves_nothing_waiting(store, monkeypatch):
    def fail():
        raise RuntimeError("no")

    writing = Writer(store)
    lost = []
    writing.on_lost = lost.append
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(store, "exchange", fail)
        writing.put(store.key("a"), b"x", 100)
        await writing.drain()
    assert (sum(lost), writing.waiting(store.key("a"))) == (1, None)
    assert "bug" in [line["event"] for line in logs]
    writing.put(store.key("b"), b"x", 100)
    await writing.drain()
    async with store.exchange() as redis:
        assert await redis.exists(store.key("b"))


async def test_what_waits_is_bounded(store, monkeypatch):
    monkeypatch.setattr(writer, "MOST_WAITING", 10)
    writing = Writer(store)
    lost = []
    writing.on_lost = lost.append
    with capture_logs():
        for n in range(30):
            writing.put(store.key(str(n)), b"x", 100)
    assert sum(lost) == 20
    await until(lambda: writing.waiting(store.key("9")) is None)
