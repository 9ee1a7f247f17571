"""deploy/nginx.conf in a real nginx: what reaches no replica, and who is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from aiohttp import web

from service.settings import Limits
from tests.deploy.behind import behind, error
from tests.deploy.nginx import TEMPLATE


async def test_a_replica_is_told_the_clients_address_and_what_it_claims_of_itself_is_dropped(
    tmp_path: Path,
) -> None:
    async with behind(tmp_path) as b:
        told = {
            "X-Forwarded-For": "6.6.6.6",
            "X-Real-IP": "6.6.6.6",
            "Forwarded": "for=6.6.6.6",
            "X_Real_IP": "6.6.6.6",
        }
        seen = (await b.client.get("/v1/models", headers=told)).json()
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["host"] == b.nginx.url.removeprefix("http://")
    assert not any("6.6.6.6" in value for value in seen.values())


async def test_a_body_may_have_the_services_size_and_no_more(tmp_path: Path) -> None:
    most = Limits().body_bytes
    async with behind(tmp_path) as b:
        taken = await b.client.post("/v1/scale", content=b"x" * most)
        refused = await b.client.post("/v1/scale", content=b"x" * (most + 1))

        async def chunks() -> AsyncGenerator[bytes]:
            for _ in range(most // 100_000 + 1):
                yield b"x" * 100_000

        chunked = await b.client.post("/v1/scale", content=chunks())
        batch = await b.client.post("/v1/batches", content=b"x" * Limits().batch_bytes)
        too_large = await b.client.post("/v1/batches", content=b"x" * (Limits().batch_bytes + 1))
    assert taken.status_code == batch.status_code == 200
    for one in (refused, chunked, too_large):
        assert one.status_code == 413
        assert error(one)["code"] == "body_too_large"
    assert sorted(len(body) for *_, body in b.requests) == [most, Limits().batch_bytes]


async def test_compressed_bodies_are_refused(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        for encoding in ("gzip", "br", "identity, gzip"):
            told = {"Content-Encoding": encoding}
            refused = await b.client.post("/v1/scale", content=b"\x1f\x8b", headers=told)
            assert refused.status_code == 415
            assert error(refused)["code"] == "content_encoding"
        plain = await b.client.post("/v1/scale", content=b"{}", headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200
    assert len(b.requests) == 1


FOR_OPERATORS = (
    "/metrics",
    "//metrics",
    "/./metrics",
    "/v1/../metrics",
    "/%6detrics",
    "/metrics?a=b",
    "/metrics#x",
    "/metrics%23x",
    "/metrics/",
    "/v1/%2e%2e/metrics",
    "/v1/..%2fmetrics",
    "http://other/metrics",
    "/v1/admin",
    "/v1/admin/keys",
    "/v1//admin/keys",
    "/v1/x/../admin/keys",
    "/v1/%61dmin/keys",
    "/v1%2fadmin/keys",
    "/v1/models/..%2fadmin%2fkeys",
    "/v1/./admin",
    "/v1/admin?x",
    "/nginx_status",
    "/",
)


async def test_what_is_for_operators_is_not_reached_from_outside(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        for path in FOR_OPERATORS:
            answer = await b.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 404"), path
            assert b'"code":"no_such_route"' in answer, path
    assert b.requests == []


SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


UNCLEAR = (
    b"Content-Length: 41\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 41\r\n",
    b"Content-Length: 0\r\nContent-Length: 41\r\n",
    b"Content-Length: 0, 41\r\n",
    b"Content-Length: +0\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x0\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Content-Length : 41\r\n",
    b"Host: b\r\n",
)


async def test_a_request_whose_end_is_unclear_reaches_no_replica(tmp_path: Path) -> None:
    # What a client goes on to send is read for five seconds, so that it sees the error: shorter here.
    template = TEMPLATE.read_text().replace(
        "server_tokens off;", "server_tokens off; lingering_timeout 100ms;"
    )
    async with behind(tmp_path, template=template) as b:
        for head in UNCLEAR:
            answer = await b.raw(b"POST /v1/scale HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n" + SMUGGLED)
            assert answer.split()[1] in (b"400", b"501"), head
    assert b.requests == []


async def test_a_new_line_in_a_path_makes_no_header(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        await b.raw(b"GET /v1/a%0d%0aX-Real-IP:%206.6.6.6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    (_, path, headers, _), *more = b.requests
    assert path == "/v1/a%0d%0aX-Real-IP:%206.6.6.6"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert more == []


async def test_what_cannot_be_read_is_told_in_the_apis_shape(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        twice = await b.raw(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        broken = await b.raw(b"\x16\x03\x01\r\n\r\n")
        long = await b.client.get("/v1/models", headers={"X-Long": "x" * 9000})
        longer = await b.client.get("/v1/models?" + "x" * 9000)
        many = await b.client.get("/v1/models", headers={f"X-{n}": "x" * 4000 for n in range(9)})
        traced = await b.client.request("TRACE", "/v1/models")
    assert b'"code":"invalid_request"' in twice
    assert b'"code":"invalid_request"' in broken
    assert [error(one)["code"] for one in (long, longer, many)] == ["header_too_large"] * 3
    assert [one.status_code for one in (long, longer, many, traced)] == [431, 431, 431, 405]
    assert error(traced)["code"] == "no_such_route"
    assert b.requests == []


async def test_a_client_that_reads_nothing_is_cut_and_fills_no_buffer(tmp_path: Path) -> None:
    cut = asyncio.Event()
    written = 0

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                written += 65536
        except ConnectionError:
            cut.set()
        return response

    template = TEMPLATE.read_text().replace("send_timeout 30s", "send_timeout 300ms")
    async with behind(tmp_path, template=template) as b:
        b.both(endless)
        async with b.client.stream("POST", "/v1/scale", json={}):
            await asyncio.wait_for(cut.wait(), 20)
    assert written < 32 * 2**20  # what the sockets of three programs hold
