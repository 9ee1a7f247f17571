import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engines.children import end
from engines.launch import free_port
from service.settings import load_settings
from service.store import client
from service.store.client import Store, StoreUnavailable
from service.store.embedded import find_server
from tests.redis_server import shared_redis
from tests.reference import ROOT
from tests.service.store.test_embedded import server_of, store_in

KEYS = Store(load_settings(redis_url="redis://h", redis_prefix="p"))
part = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(part, min_size=1, max_size=3), st.lists(part, min_size=1, max_size=3))
def test_keys_are_equal_for_equal_parts_alone_and_hold_nothing_that_needs_care(one, other):
    assert (KEYS.key(*one) == KEYS.key(*other)) == (one == other)
    assert KEYS.key(*one).isascii()
    assert KEYS.key(*one).isprintable()
    assert KEYS.key(*one).startswith("p:1:")


async def test_prefixes_keep_two_stores_in_one_redis_apart():
    stores = [Store(load_settings(redis_url=shared_redis(), redis_prefix=name)) for name in ("one", "other")]
    assert stores[0].key("a") != stores[1].key("a")


def test_the_service_is_loaded_without_waiting_for_redis_py():
    code = "import service.app, sys; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


async def at(url: str) -> Store:
    store = Store(load_settings(redis_url=url))
    await store.start()
    return store


async def test_a_store_that_is_not_there_is_a_503_that_says_when_to_come_again_and_no_password():
    store = await at(f"redis://someone:s3cret@127.0.0.1:{free_port()}/0")
    with capture_logs() as logs, pytest.raises(StoreUnavailable) as failed:
        async with store.exchange() as redis:
            await redis.get("a")
    assert failed.value.status == 503
    assert failed.value.body()["error"]["code"] == "store_unavailable"
    assert failed.value.headers["Retry-After"] == "5"
    assert [line["event"] for line in logs] == ["store_unavailable"]
    assert "s3cret" not in f"{logs}{failed.value.body()}{failed.value.__cause__!r}"
    await store.stop()


async def test_a_store_that_hangs_is_given_up_and_left_alone_for_a_while(monkeypatch):
    met = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        await reader.read()
        writer.close()

    monkeypatch.setattr(client, "SECONDS", 0.1)
    async with await asyncio.start_server(hang, "127.0.0.1", port := free_port()):
        store = await at(f"redis://127.0.0.1:{port}")
        assert not await store.answers()
        before = met
        assert not await store.answers()
        assert met == before
        await store.stop()


async def test_a_cancellation_that_redis_py_swallows_ends_the_task_all_the_same():
    store, begun = await at(shared_redis()), asyncio.Event()

    async def swallow() -> None:
        async with store.exchange():
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)

    task = asyncio.create_task(swallow())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.stop()


async def test_connections_that_a_restart_has_closed_are_made_anew_unseen(tmp_path):
    async with store_in(tmp_path) as store:
        server = store._server
        assert await store.answers()
        process = await server_of(store)
        await end(server._process)
        await server._launch(find_server())
        async with store.exchange() as redis:
            await redis.ping()
        assert await server_of(store) != process


async def test_a_full_store_refuses_what_is_written_and_still_answers(tmp_path):
    async with store_in(tmp_path) as store:
        async with store.exchange() as redis:
            await redis.set("kept", "yes")
            await redis.config_set("maxmemory", "1")
        with capture_logs() as logs, pytest.raises(StoreUnavailable, match="refuses this: it is full"):
            async with store.exchange() as redis:
                await redis.set("more", "x")
        assert "maxmemory" in logs[0]["why"]
        async with store.exchange() as redis:
            assert await redis.get("kept") == b"yes"


async def test_a_key_that_holds_another_kind_of_value_is_a_refusal_and_no_silence():
    store = await at(shared_redis())
    async with store.exchange() as redis:
        await redis.set(store.key("kind"), "text", ex=60)
    with capture_logs() as logs, pytest.raises(StoreUnavailable, match="another kind of value"):
        async with store.exchange() as redis:
            await redis.hgetall(store.key("kind"))
    assert "WRONGTYPE" in logs[0]["why"]
    assert await store.answers()
    await store.stop()


async def test_what_is_asked_before_the_start_or_after_the_end_is_unavailable(tmp_path):
    store = Store(load_settings(data_dir=tmp_path, log_folder=tmp_path))
    assert not await store.answers()
    async with store_in(tmp_path) as store:
        assert await store.answers()
    assert not await store.answers()


async def test_an_exchange_that_is_broken_off_leaves_no_answer_for_the_next():
    store = await at(shared_redis())

    async def get(n: int) -> bytes | None:
        async with store.exchange() as redis:
            return await redis.get(store.key("broken-off", str(n)))

    for n in range(100):
        async with store.exchange() as redis:
            await redis.set(store.key("broken-off", str(n)), str(n), ex=60)
        going = [asyncio.create_task(get(n)) for _ in range(3)]
        for _ in range(n % 7):
            await asyncio.sleep(0)
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        assert await get(n) == str(n).encode()
    await store.stop()
