"""Who may ask: keys, the admin key, and what stays open."""

import asyncio
import json
import re

import httpx
import openai
import pytest
from structlog.testing import capture_logs

from service.settings import Settings, SettingsError, load_settings
from tests.service.live import MESSAGES, live
from tests.service.tenants.asking import ADMIN, ADMIN_KEY, asking, bearer, guarded, new_key, used
from tests.stand_ins import MODEL

OPEN = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")
SMALL = {"model": MODEL, "messages": MESSAGES, "max_tokens": 8, "scaling": {"budget": {"samples": 2}}}


@pytest.fixture
async def service():
    async with asking() as running:
        yield running


async def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer unused"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer ak-0123456789abcdef-" + "A" * 43},
        {"Authorization": "Bearer ak-0123456789abcdef-" + "A" * 50_000},
        {"Authorization": b"Bearer \xff\xfe\xfd"},
        {"X-Api-Key": ADMIN_KEY},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/admin/keys", "/v1/nothing"])
async def test_a_request_without_a_key_that_opens_is_refused_alike(service, headers, path):
    method = "POST" if path.endswith("completions") else "GET"
    answer = await service.client.request(method, path, headers=headers)
    await refused(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    without = await service.client.request(method, path)
    assert answer.json() == without.json()
    assert not service.completions


async def test_two_authorization_headers_are_refused(service):
    key = await new_key(service.client, "maths")
    headers = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    await refused(await service.client.get("/v1/models", headers=headers), 401, "invalid_api_key")


async def test_a_key_opens_until_it_is_revoked_and_a_changed_one_never_does(service):
    key = await new_key(service.client, "maths")
    answer = await service.client.post("/v1/chat/completions", json=SMALL, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    await refused(await service.client.get("/v1/models", headers=bearer(wrong)), 401, "invalid_api_key")
    (listed,) = (await service.client.get("/v1/admin/keys", headers=ADMIN)).json()["data"]
    gone = await service.client.delete(f"/v1/admin/keys/{listed['id']}", headers=ADMIN)
    assert gone.json() == {"object": "key", "id": listed["id"], "deleted": True}
    await refused(await service.client.get("/v1/models", headers=bearer(key)), 401, "invalid_api_key")


async def test_the_openai_client_sends_a_key_as_it_always_does(service):
    key = await new_key(service.client, "maths")
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=key) as client:
        reply = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8)
        assert reply.choices[0].message.content == "15"
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_what_watches_the_service_needs_no_key(service):
    for path in OPEN:
        assert (await service.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/healthz/", "//healthz", "/healthz/../v1/models", "/v1/models/../../healthz", "/%2e%2e/healthz"]
)
async def test_no_path_that_only_looks_open_is(service, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(service.url).port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert b" 401 " in status


async def test_without_keys_everybody_is_let_in_and_usage_is_not_counted():
    async with live(["15"] * 8) as running:
        assert (await running.chat(max_tokens=8)).status_code == 200
        await refused(await running.client.get("/v1/usage"), 403, "auth_off")
        await refused(await running.client.get("/v1/admin/keys", headers=ADMIN), 403, "admin_disabled")


async def test_tenants_can_be_made_before_keys_are_asked_for():
    async with live(["15"] * 8, Settings(admin_key=ADMIN_KEY)) as running:
        await refused(await running.client.get("/v1/admin/keys"), 401, "invalid_api_key")
        key = await new_key(running.client, "maths")
        assert (await running.client.get("/v1/models", headers=bearer(key))).status_code == 200
        assert (await running.chat(max_tokens=8)).status_code == 200


@pytest.mark.parametrize(
    ("host", "auth", "required"),
    [
        ("127.0.0.1", "auto", False),
        ("127.8.8.8", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("0.0.0.0", "auto", True),
        ("::", "auto", True),
        ("10.0.0.7", "auto", True),
        ("localhost.example", "auto", True),
        ("", "auto", True),
        ("0.0.0.0", "off", False),
        ("127.0.0.1", "required", True),
    ],
)
def test_keys_are_needed_where_others_can_reach_the_service_unless_said_otherwise(host, auth, required):
    assert Settings(host=host, auth=auth).keys_required == required


@pytest.mark.parametrize("key", ["short", "with a space in it somewhere", "ak-0123456789abcdef-x", "x" * 257])
def test_an_admin_key_that_is_weak_or_odd_is_refused_without_being_told(key):
    with pytest.raises(SettingsError) as told:
        load_settings(admin_key=key)
    assert key not in str(told.value)
    assert "openssl rand -hex 32" in str(told.value)


def test_an_empty_admin_key_is_none():
    assert load_settings(admin_key="").admin_key is None


async def test_the_admin_key_runs_as_a_tenant_of_its_own(service):
    answer = await service.client.post("/v1/chat/completions", json=SMALL, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    assert (await used(service, ADMIN_KEY))["tenant"] == "admin"


async def test_a_tenant_is_no_admin(service):
    key = await new_key(service.client, "maths")
    for method, path in (
        ("GET", "/v1/admin/tenants"),
        ("PUT", "/v1/admin/tenants/maths"),
        ("GET", "/v1/admin/tenants/other"),
        ("DELETE", "/v1/admin/tenants/maths"),
        ("POST", "/v1/admin/keys"),
        ("GET", "/v1/admin/keys"),
        ("DELETE", "/v1/admin/keys/0123456789abcdef"),
        ("POST", "/v1/profiles"),
        ("GET", "/v1/usage?tenant=other"),
    ):
        answer = await service.client.request(method, path, headers=bearer(key), content=b"{}")
        await refused(answer, 403, "admin_only")


async def test_feedback_on_anothers_response_is_a_404_like_on_none(service):
    one, other = [await new_key(service.client, name) for name in ("maths", "physics")]
    asked = await service.client.post("/v1/chat/completions", json=SMALL, headers=bearer(one))
    verdict = {"id": asked.json()["id"], "correct": True}
    stolen = await service.client.post("/v1/feedback", json=verdict, headers=bearer(other))
    await refused(stolen, 404, "response_not_found")
    unknown = await service.client.post(
        "/v1/feedback", json=verdict | {"id": "chatcmpl-0"}, headers=bearer(other)
    )
    shown = re.sub(r"'.*?'", "", stolen.json()["error"]["message"])
    assert shown == re.sub(r"'.*?'", "", unknown.json()["error"]["message"])
    own = await service.client.post("/v1/feedback", json=verdict, headers=bearer(one))
    assert own.status_code == 200, own.text


async def test_no_key_reaches_the_log_the_metrics_or_the_store(tmp_path):
    with capture_logs() as logs:
        async with asking() as running:
            key = await new_key(running.client, "maths")
            await running.client.post("/v1/chat/completions", json=SMALL, headers=bearer(key))
            await running.client.get("/v1/models", headers=bearer(key + "x"))
            metrics = (await running.client.get("/metrics")).text
            listed = (await running.client.get("/v1/admin/keys", headers=ADMIN)).text
    secret = key.split("-", 2)[2]
    assert any(line.get("tenant") == "maths" for line in logs)
    for text in (json.dumps(logs, default=str), metrics, listed):
        assert secret not in text
        assert ADMIN_KEY not in text
    assert 'aliquot_tenant_tokens_total{strategy="majority",tenant="maths"}' in metrics
    assert "aliquot_overspends_total 0.0" in metrics


async def test_while_the_store_is_down_nobody_is_let_in_and_told_when_to_come_again():
    settings = guarded(redis_url="redis://127.0.0.1:9")
    async with asking(settings=settings) as running:
        answer = await running.client.get("/v1/models", headers=bearer("ak-0123456789abcdef-" + "A" * 43))
        await refused(answer, 503, "store_unavailable")
        assert answer.headers["retry-after"] == "5"
        await refused(await running.client.get("/v1/models", headers=bearer("x")), 401, "invalid_api_key")
        run = await running.client.post("/v1/chat/completions", json=SMALL, headers=ADMIN)
        await refused(run, 503, "store_unavailable")
        assert not running.completions


async def test_a_client_that_sends_its_body_slowly_is_refused_before_it_has(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(service.url).port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n{")
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert b" 401 " in status
