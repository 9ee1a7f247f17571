"""deploy/nginx.conf in a real nginx: which replica gets a request, and what clients are told."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from service.server import KEEP_ALIVE_SECONDS
from service.settings import DRAIN_SECONDS, Limits
from tests.deploy.behind import behind, error
from tests.deploy.nginx import TEMPLATE, command, free_address, rendered, variables


def directives(name: str) -> list[str]:
    """The values that deploy/nginx.conf gives a directive, in order."""
    return re.findall(rf"^ *{name} ([^;]*);", TEMPLATE.read_text(), re.MULTILINE)


def test_nginx_takes_the_configuration_without_a_warning(tmp_path: Path) -> None:
    values = variables(["127.0.0.1:9", "127.0.0.1:10"], listen=free_address(), status=free_address())
    (tmp_path / "nginx.conf").write_text(rendered(TEMPLATE.read_text(), **values))
    checked = subprocess.run([*command(tmp_path), "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr


def test_its_limits_are_those_of_the_service() -> None:
    usual, batches, files = directives("client_max_body_size")
    assert usual == str(Limits().body_bytes)
    assert batches == files == str(Limits().batch_bytes)
    (wait,) = directives("proxy_read_timeout")
    assert int(wait.removesuffix("s")) > Limits().seconds
    (patience,) = directives("send_timeout")
    assert int(patience.removesuffix("s")) <= Limits().send_seconds
    _, idle = directives("keepalive_timeout")  # clients', then replicas'
    assert int(idle.removesuffix("s")) < min(KEEP_ALIVE_SECONDS, DRAIN_SECONDS)


def test_its_errors_are_explained() -> None:
    page = Path("docs/api.md").read_text()
    codes = {*re.findall(r'"code":"(\w+)"', TEMPLATE.read_text())}
    assert {"replica_lost", "service_unavailable"} <= codes
    assert [code for code in codes if f"`{code}`" not in page] == []


async def test_a_request_has_the_clients_id_where_it_is_usable_else_one_of_its_own(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        for given, kept in [("mine-1.x_Y", True), ("", False), ("a b", False), ("x" * 129, False)]:
            seen = (await b.client.get("/v1/models", headers={"X-Request-Id": given})).json()["x-request-id"]
            refused = await b.client.get("/nothing", headers={"X-Request-Id": given})
            assert (seen == given) == kept
            assert kept or (seen.startswith("req_") and len(seen) == 36)
            assert (refused.headers["x-request-id"] == given) == kept


async def test_a_replicas_own_id_and_errors_go_through_as_they_are(tmp_path: Path) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.json_response({"own": 1}, status=503, headers={"X-Request-Id": "r1", "Retry-After": "7"})

    async with behind(tmp_path) as b:
        b.both(answer)
        response = await b.client.post("/v1/scale", json={})
    assert response.status_code == 503
    assert response.json() == {"own": 1}
    assert response.headers.get_list("x-request-id") == ["r1"]
    assert response.headers.get_list("retry-after") == ["7"]
    assert len(b.requests) == 1


async def test_connections_to_replicas_are_kept(tmp_path: Path) -> None:
    async with behind(tmp_path, up=1) as b:
        await b.client.get("/v1/models")  # which finds that the first replica is not there
        for _ in range(20):
            assert (await b.client.post("/v1/scale", json={})).status_code == 200
        assert len(b.second.connections) <= 2  # one for each of nginx's workers
        assert all("connection" not in headers for _, _, headers, _ in b.requests)


async def test_an_event_reaches_the_client_before_the_next_is_written(tmp_path: Path) -> None:
    read = asyncio.Event()

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(f"data: {number}\n\n".encode())
            await read.wait()
            read.clear()
        return response

    async with behind(tmp_path) as b:
        b.both(stream)
        got = []
        async with b.client.stream("POST", "/v1/chat/completions", json={}) as response:
            async for line in response.aiter_lines():
                if line:
                    got.append(line)
                    read.set()
    assert got == ["data: 0", "data: 1", "data: 2"]


async def test_a_client_that_leaves_takes_its_request_along(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        while request.transport and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        left.set()
        return web.Response()

    async with behind(tmp_path) as b:
        b.both(slow)
        with pytest.raises(httpx.ReadTimeout):
            await b.client.post("/v1/scale", json={}, timeout=0.2)
        await asyncio.wait_for(left.wait(), 5)


async def test_a_request_that_could_not_connect_goes_to_the_next_replica(tmp_path: Path) -> None:
    async with behind(tmp_path, up=1) as b:
        answers = [await b.client.post("/v1/scale", json={"n": n}) for n in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert sorted(json.loads(body)["n"] for *_, body in b.second.requests) == list(range(10))


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    """A replica that dies once it has read the request."""
    assert isinstance(request.transport, asyncio.Transport)
    request.transport.abort()
    return web.Response()


async def test_a_post_that_a_replica_may_have_begun_is_not_repeated(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        b.both(cut)
        response = await b.client.post("/v1/scale", json={})
    assert response.status_code == 502
    assert error(response)["code"] == "replica_lost"
    assert response.headers["retry-after"] == "1"
    assert len(b.requests) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_request_that_changes_nothing_when_repeated_is_answered_by_the_next_replica(
    tmp_path: Path, method: str
) -> None:
    died = False

    async def once(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal died
        if died:
            return web.json_response({"answered": True})
        died = True
        return await cut(request)

    async with behind(tmp_path) as b:
        b.both(once)
        response = await b.client.request(method, "/v1/jobs/x")
    assert response.json() == {"answered": True}
    assert len(b.requests) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_replica_the_client_is_told_that_nothing_was_begun(
    tmp_path: Path, method: str
) -> None:
    async with behind(tmp_path, up=0) as b:
        # The second finds that both replicas are known to be away.
        responses = [await b.client.request(method, "/v1/scale") for _ in range(2)]
    for response in responses:
        assert response.status_code == 503
        assert error(response)["code"] == "service_unavailable"
        assert response.headers["retry-after"] == "1"


async def test_a_reply_that_does_not_come_is_a_504_that_clients_do_not_repeat(tmp_path: Path) -> None:
    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    template = TEMPLATE.read_text().replace("proxy_read_timeout 660s", "proxy_read_timeout 300ms")
    async with behind(tmp_path, template=template) as b:
        b.both(silent)
        response = await b.client.post("/v1/scale", json={})
    assert response.status_code == 504
    assert error(response)["code"] == "gateway_timeout"
    assert response.headers["x-should-retry"] == "false"
    assert len(b.requests) == 1


@pytest.mark.parametrize(
    ("directive", "sent"),
    [
        ("client_header_timeout", b"GET /v1/models HTTP/1.1\r\nHost:"),
        ("client_body_timeout", b"POST /v1/scale HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"),
    ],
)
async def test_a_client_that_sends_too_slowly_is_cut_and_holds_no_replica(
    tmp_path: Path, directive: str, sent: bytes
) -> None:
    template = TEMPLATE.read_text().replace(f"{directive} 10s", f"{directive} 200ms")
    async with behind(tmp_path, template=template) as b:
        assert b"200" not in await b.raw(sent)
    assert b.requests == []


async def test_no_request_fails_while_nginx_reloads(tmp_path: Path) -> None:
    async def slowly(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response({})

    statuses = []
    async with behind(tmp_path) as b:
        b.both(slowly)
        over = False

        async def ask() -> None:
            # A connection for each: a kept one may be closed by the old worker just as the client sends on it.
            async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
                while not over:
                    statuses.append((await client.post(f"{b.nginx.url}/v1/scale", json={})).status_code)

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for _ in range(3):
            before, seen = b.nginx.workers, len(statuses)
            b.nginx.reload()
            while b.nginx.workers & before or len(statuses) < seen + 8:
                await asyncio.sleep(0.01)
        over = True
        await asyncio.gather(*asking)
    assert {*statuses} == {200}


async def test_the_exporters_page_is_on_its_own_address(tmp_path: Path) -> None:
    async with behind(tmp_path) as b, httpx.AsyncClient(base_url=b.nginx.status) as exporter:
        page = await exporter.get("/nginx_status")
        other = await exporter.get("/v1/models")
    assert page.text.startswith("Active connections: ")
    assert other.status_code == 404
    assert b.requests == []


async def test_the_log_has_a_line_of_json_for_each_request_without_its_query(tmp_path: Path) -> None:
    async with behind(tmp_path) as b:
        await b.client.post(
            "/v1/scale?secret=query",
            json={"secret": "body"},
            headers={"Authorization": "secret", "X-Request-Id": "r1"},
        )
        while '"r1"' not in b.nginx.log:
            await asyncio.sleep(0.01)
        lines = [json.loads(line) for line in b.nginx.log.splitlines() if line.startswith("{")]
    assert "secret" not in b.nginx.log
    (line,) = [line for line in lines if line["request_id"] == "r1"]
    assert (line["path"], line["status"], line["client"]) == ("/v1/scale", 200, "127.0.0.1")
    assert line["replica"] in (b.first.address, b.second.address)
