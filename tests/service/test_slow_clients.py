"""Clients that read or write too slowly are cut, and hold neither memory nor engines."""

import asyncio
import itertools
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from engines.scripted import ScriptedEngine
from service import connection, serving
from service.server import Server
from service.settings import Settings, WorldConfig
from service.world import World
from tests.redis_server import stored
from tests.service.live import MESSAGES
from tests.stand_ins import MODEL, StandInVllm, until
from tests.stand_ins import serving as serving_engine


@dataclass
class House:
    """A service as `aliquot serve` starts it, and the engine behind it."""

    server: Server
    world: World
    stand_in: StandInVllm
    port: int

    def script(self, text: str, **options) -> None:
        self.stand_in.engine = ScriptedEngine(lambda _: itertools.repeat(text), **options)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    @asynccontextmanager
    async def client(self):
        """A connection of which hardly anything is buffered on the way."""
        loop = asyncio.get_running_loop()
        with socket.socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            opened.setblocking(False)
            await loop.sock_connect(opened, ("127.0.0.1", self.port))
            yield opened

    @asynccontextmanager
    async def asked(self, path: str, **body):
        """A client that has asked, and has not read anything yet."""
        content = json.dumps({"model": MODEL, "messages": MESSAGES} | body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        async with self.client() as opened:
            await asyncio.get_running_loop().sock_sendall(opened, head + content)
            yield opened


@asynccontextmanager
async def house(**limits):
    stand_in = StandInVllm(ScriptedEngine([]))
    settings = stored(Settings(grace_seconds=0.1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with serving_engine(stand_in.app()) as url:
            config = {"models": [{"name": MODEL, "urls": [url]}], "limits": limits}
            async with World(settings, WorldConfig.model_validate(config)) as world:
                started = asyncio.Event()
                server = Server(world, settings, lambda *_: started.set())
                task = asyncio.create_task(server.serve(sockets=[listener]))
                await started.wait()
                yield House(server, world, stand_in, listener.getsockname()[1])
                server.stop()
                await task


async def read_to_the_end(opened: socket.socket) -> bytes:
    loop, got = asyncio.get_running_loop(), bytearray()
    while part := await loop.sock_recv(opened, 65_536):
        got += part
    return bytes(got)


async def read_until(opened: socket.socket, end: bytes) -> bytes:
    loop, got = asyncio.get_running_loop(), bytearray()
    while end not in got:
        got += await loop.sock_recv(opened, 1024)
    return bytes(got)


async def send_headers_without_end(opened: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(opened, b"GET / HTTP/1.1\r\nHost: x\r\n")
    for number in itertools.count():
        await loop.sock_sendall(opened, b"X-%d: %s\r\n" % (number, b"a" * 1000))
        await asyncio.sleep(0)


async def test_a_stream_whose_client_reads_nothing_is_cut_and_its_run_cancelled():
    async with house(send_seconds=0.2) as place:
        place.script("x" * 30_000, step_seconds=0.0002)
        budget = {"budget": {"samples": 1}}
        async with place.asked("/v1/chat/completions", stream=True, scaling=budget) as opened:
            await until(lambda: place.stand_in.running == 1)
            await until(lambda: place.stand_in.running == 0)
            assert place.stand_in.engine.generated < 30_000
            await until(lambda: place.connections == 0)
            assert place.world.admission.under_way["interactive"] == 0
            assert not (await read_to_the_end(opened)).endswith(b"0\r\n\r\n")


async def test_a_body_that_is_not_read_does_not_stay_in_memory():
    async with house(send_seconds=0.2) as place:
        place.script("y" * 20_000)
        async with place.asked("/v1/scale", scaling={"budget": {"samples": 32, "tokens": 1_000_000}}):
            await until(lambda: place.world.admission.admitted["interactive"] == 1)
            await until(lambda: place.connections == 0)


async def test_one_that_reads_slowly_but_does_is_not_cut():
    async with house(send_seconds=1) as place:
        place.script("y" * 20_000)
        scaling = {"budget": {"samples": 8, "tokens": 1_000_000}}
        async with place.asked("/v1/scale", scaling=scaling) as opened:
            loop = asyncio.get_running_loop()
            head, _, body = (await read_until(opened, b"\r\n\r\n")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = next(
                int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
            )
            assert length > 150_000
            whole = bytearray(body)
            while len(whole) < length:
                for _ in range(20):
                    whole += await loop.sock_recv(opened, 4096)
                await asyncio.sleep(0.15)
            assert len(json.loads(whole)["candidates"]) == 8


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b"])
async def test_a_request_whose_head_does_not_come_is_cut(sent):
    async with house(body_seconds=0.2) as place, place.client() as opened:
        await asyncio.get_running_loop().sock_sendall(opened, sent)
        await until(lambda: place.connections == 1)
        await until(lambda: place.connections == 0)


async def test_a_connection_that_is_kept_open_by_empty_lines_behind_a_request_is_cut():
    async with house(body_seconds=0.2) as place, place.client() as opened:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(opened, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_until(opened, b'{"status":"ok"}')
        await loop.sock_sendall(opened, b"\r\n")  # which ends the wait for an idle connection
        await until(lambda: place.connections == 0)


async def test_a_head_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(connection, "MOST_HEAD", 10_000)
    async with house() as place, place.client() as opened:
        with pytest.raises(ConnectionError):
            await send_headers_without_end(opened)
        await until(lambda: place.connections == 0)


async def test_bodies_that_come_slowly_are_read_up_to_a_bound_of_all_together(monkeypatch):
    monkeypatch.setattr(serving, "FULL_BODIES", 2)
    async with house(body_bytes=1000) as place:
        head = b"POST /v1/scale HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        loop = asyncio.get_running_loop()
        async with place.client() as first, place.client() as second, place.client() as third:
            for slow in (first, second):
                await loop.sock_sendall(slow, head + b"x" * 900)
            await until(lambda: place.world.bodies.held == 1800)
            await loop.sock_sendall(third, head + b"x" * 900)
            assert (await loop.sock_recv(third, 1024)).startswith(b"HTTP/1.1 429")
            await loop.sock_sendall(first, b"x" * 100)
            assert (await loop.sock_recv(first, 1024)).startswith(b"HTTP/1.1 400")
            await until(lambda: place.world.bodies.held == 900)
        await until(lambda: place.world.bodies.held == 0)


async def test_replies_one_after_another_on_one_connection_are_not_cut():
    async with house(send_seconds=0.1, body_seconds=0.1) as place, place.client() as opened:
        loop = asyncio.get_running_loop()
        for _ in range(4):
            await loop.sock_sendall(opened, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_until(opened, b'{"status":"ok"}')).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.06)
