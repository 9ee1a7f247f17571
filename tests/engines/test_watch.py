"""Hung is told from slow: by a watch alone, and by calls to servers on real sockets."""

import asyncio
import socket
from contextlib import aclosing

import pytest

from engines import transport, watch
from engines.base import Call, Chunk, EngineUnavailable
from engines.transport import CARRIED, Transport
from engines.vllm import VllmEngine
from engines.watch import Watch
from tests.engines.faulty import answers_404, answers_503, breaks_after, faulty, hangs, piece
from tests.stand_ins import MODEL, until


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.05)


class Server:
    """What a watch asks for signs of life: it gives them while `alive`."""

    def __init__(self, alive: bool) -> None:
        self.alive = alive
        self.asked = 0
        self.watch = Watch(self.lives)
        self.ended = asyncio.Event()

    async def lives(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        return self.alive


async def test_what_waits_for_a_server_without_a_sign_of_life_is_ended():
    server = Server(alive=False)
    with server.watch.waiting(server.ended.set):
        await server.ended.wait()
    assert server.asked == 2
    assert server.watch.hung
    server.watch.close()


async def test_a_server_that_gives_signs_is_waited_for_however_slow():
    server = Server(alive=True)
    with server.watch.waiting(server.ended.set):
        await until(lambda: server.asked >= 5)
    assert not server.watch.hung
    assert not server.ended.is_set()
    server.watch.close()


async def test_one_missed_sign_is_none():
    server = Server(alive=False)
    with server.watch.waiting(server.ended.set):
        await until(lambda: server.asked == 1)
        server.alive = True
        await until(lambda: server.asked >= 4)
    assert not server.ended.is_set()
    server.watch.close()


async def test_a_server_that_is_heard_is_never_asked():
    server = Server(alive=False)
    with server.watch.waiting(server.ended.set):
        for _ in range(40):
            server.watch.heard()
            await asyncio.sleep(0.005)
    assert server.asked == 0
    server.watch.close()


async def test_what_is_heard_while_a_sign_is_asked_for_counts():
    server = Server(alive=False)

    async def lives() -> bool:
        server.asked += 1
        server.watch.heard()
        return False

    server.watch._lives = lives
    with server.watch.waiting(server.ended.set):
        await until(lambda: server.asked >= 4)
    assert not server.ended.is_set()
    server.watch.close()


async def test_without_calls_nothing_is_asked():
    server = Server(alive=True)
    with server.watch.waiting(server.ended.set):
        server.watch.heard()
    await until(lambda: server.watch._looking is None)
    assert server.asked == 0


async def test_calls_that_give_up_early_do_not_hide_a_hung_server():
    server = Server(alive=False)
    with server.watch.waiting(server.ended.set):
        await asyncio.sleep(0)
    await until(lambda: server.watch.hung)
    server.alive = True
    await until(lambda: not server.watch.hung)
    server.watch.close()


async def test_a_call_of_a_hung_server_ends_and_the_next_fails_at_once_until_it_answers():
    async with faulty() as server:
        http = Transport(server.url)
        server.hung = True
        with pytest.raises(EngineUnavailable, match="stopped answering") as failure:
            await http.post("/v1/completions", {})
        assert failure.value.began
        with pytest.raises(EngineUnavailable, match="does not answer") as failure:
            await http.post("/v1/completions", {})
        assert not failure.value.began
        assert server.completions == 1
        asked = server.asked.count("/health")
        assert not await http.alive()
        assert server.asked.count("/health") == asked
        server.hung = False
        await until(lambda: not http._watch.hung)
        assert await http.alive()
        assert await http.get("/v1/models")
        await http.close()


async def test_a_slow_server_is_waited_for():
    async with faulty("slow", step_seconds=0.1) as server:
        engine = VllmEngine("m", server.url, served_name=MODEL)
        generation = await engine.sample(Call(((1,),), 1, 10))
        assert generation.samples[0][0].text == "slow"
        assert "/health" in server.asked
        await engine.close()


async def test_a_server_without_a_health_route_is_slow_at_most():
    async with faulty("slow", step_seconds=0.1) as server:
        server.health = answers_404
        engine = VllmEngine("m", server.url, served_name=MODEL)
        assert (await engine.sample(Call(((1,),), 1, 10))).samples[0][0].text == "slow"
        assert server.asked.count("/health") >= 3
        assert not await engine.ready()
        await engine.close()


async def test_a_server_that_says_its_engine_is_dead_is_waited_for_no_longer():
    async with faulty() as server:
        server.health, server.fault = answers_503, hangs
        engine = VllmEngine("m", server.url, served_name=MODEL)
        with pytest.raises(EngineUnavailable, match="stopped answering"):
            await engine.sample(Call(((1,),), 1, 10))
        await engine.close()


async def test_a_stream_that_flows_is_sign_enough():
    async with faulty("x" * 20, step_seconds=0.03) as server:
        server.health = hangs
        engine = VllmEngine("m", server.url, served_name=MODEL)
        async with aclosing(engine.stream(Call(((1,),), 1, 20))) as chunks:
            text = "".join([chunk.text async for chunk in chunks if isinstance(chunk, Chunk)])
        assert text == "x" * 20
        await engine.close()


async def test_a_server_that_refuses_connections_is_not_silent():
    http = Transport("http://127.0.0.1:9")
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await http.get("/v1/models")
        await until(lambda: http._watch._looking is None)
    assert not http._watch.hung
    await http.close()


async def test_a_stream_that_goes_silent_with_its_server_ends_with_what_came():
    async with faulty() as server:
        server.fault = breaks_after(piece(0, "a"), silent=True)
        engine = VllmEngine("m", server.url, served_name=MODEL)
        async with aclosing(engine.stream(Call(((1,),), 1, 10))) as chunks:
            assert await anext(chunks) == Chunk(0, 0, "a", (97,))
            server.hung = True
            with pytest.raises(EngineUnavailable, match="stopped answering") as failure:
                await anext(chunks)
        assert failure.value.began
        await engine.close()


async def test_a_stream_that_is_silent_while_its_server_lives_goes_on():
    async with faulty("ab", step_seconds=0.2) as server:
        engine = VllmEngine("m", server.url, served_name=MODEL)
        async with aclosing(engine.stream(Call(((1,),), 1, 10))) as chunks:
            text = "".join([chunk.text async for chunk in chunks if isinstance(chunk, Chunk)])
        assert text == "ab"
        assert server.asked.count("/health") >= 3
        await engine.close()


async def test_a_caller_that_leaves_is_not_told_of_a_failure():
    async with faulty() as server:
        http = Transport(server.url)
        server.hung = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await http.post("/v1/completions", {})
        await http.close()


async def test_connections_find_out_that_they_were_forgotten(monkeypatch):
    made = []

    class Noted(socket.socket):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(transport.socket, "socket", Noted)
    async with faulty() as server:
        http = Transport(server.url)
        await http.get("/v1/models")
        kept = [
            s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for s in made if s.type == socket.SOCK_STREAM
        ]
        assert 1 in kept
        await http.close()


async def test_headers_that_are_carried_reach_the_server_and_no_call_of_another_context():
    async with faulty() as server:
        http = Transport(server.url)

        async def carrying():
            CARRIED.set({"traceparent": "00-1-2-01"})
            await http.get("/v1/models")

        await asyncio.create_task(carrying())
        await http.get("/v1/models")
        assert [headers.get("traceparent") for headers in server.headers] == ["00-1-2-01", None]
        await http.close()
