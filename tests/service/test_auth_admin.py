"""The admin's routes: what they take, what they answer, and what they refuse."""

import pytest

from service.tenant_replies import KeyList, NewKey, TenantList, TenantRemoved, TenantUsage, TenantView
from service.tenants.tenant import RESERVED
from tests.service.tenants.asking import ADMIN, ADMIN_KEY, asking, bearer, new_key
from tests.stand_ins import MODEL

ALL = {
    "requests_per_second": 0.5,
    "requests_at_once": 3,
    "tokens_per_day": 10**15,
    "usd_per_day": 0.01,
    "models": [MODEL],
    "strategies": ["majority", "auto"],
    "most": {"samples": 4, "tokens": 100, "seconds": 1.5, "eflops": 1e15, "usd": 0.001},
}


@pytest.fixture
async def service():
    async with asking() as running:
        yield running


async def test_limits_come_back_as_they_were_given_and_are_replaced_whole(service):
    put = await service.client.put("/v1/admin/tenants/maths", json=ALL, headers=ADMIN)
    told = TenantView.model_validate(put.json())
    assert told.model_dump() == ALL | {"object": "tenant", "name": "maths"}
    got = await service.client.get("/v1/admin/tenants/maths", headers=ADMIN)
    assert got.json() == put.json()
    put = await service.client.put("/v1/admin/tenants/maths", json={"requests_at_once": 7}, headers=ADMIN)
    told = TenantView.model_validate(put.json())
    assert (told.requests_at_once, told.tokens_per_day, told.most.samples) == (7, None, None)
    empty = await service.client.put("/v1/admin/tenants/physics", headers=ADMIN)
    assert TenantView.model_validate(empty.json()).models is None
    listed = TenantList.model_validate((await service.client.get("/v1/admin/tenants", headers=ADMIN)).json())
    assert [tenant.name for tenant in listed.data] == ["maths", "physics"]


@pytest.mark.parametrize(
    "name",
    [
        *RESERVED,
        "-x",
        ".x",
        "x" * 65,
        "%20",
        "a%2Fb",
        "a:b",
        "a%00b",
        "%C3%A4",
        "a%0d%0aSet-Cookie:x",
        "..%2f..%2fhealthz",
        '"><script>',
    ],
)
async def test_a_name_that_is_none_is_refused(service, name):
    answer = await service.client.put(f"/v1/admin/tenants/{name}", json={}, headers=ADMIN)
    assert answer.status_code in (400, 404)
    assert "set-cookie" not in answer.headers
    assert (await service.client.get("/v1/admin/tenants", headers=ADMIN)).json()["data"] == []


@pytest.mark.parametrize(
    ("limits", "param"),
    [
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"requests_per_second": -1}, "requests_per_second"),
        ({"requests_at_once": 1.5}, "requests_at_once"),
        ({"requests_at_once": True}, "requests_at_once"),
        ({"tokens_per_day": 10**16}, "tokens_per_day"),
        ({"tokens_per_day": 0}, "tokens_per_day"),
        ({"usd_per_day": 1e-10}, "usd_per_day"),
        ({"usd_per_day": "5"}, "usd_per_day"),
        ({"models": ["other"]}, "models"),
        ({"models": ["a b"]}, "models.0"),
        ({"strategies": [1]}, "strategies.0"),
        ({"strategies": ["luck"]}, "strategies"),
        ({"most": {"hours": 1}}, "most.hours"),
        ({"most": {"samples": 0}}, "most.samples"),
        ({"tokens": 5}, "tokens"),
    ],
)
async def test_a_limit_that_cannot_be_is_named(service, limits, param):
    answer = await service.client.put("/v1/admin/tenants/maths", json=limits, headers=ADMIN)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param
    assert (await service.client.get("/v1/admin/tenants/maths", headers=ADMIN)).status_code == 404


async def test_a_key_is_told_once_and_its_reply_is_not_cached(service):
    await new_key(service.client, "maths")
    made = await service.client.post("/v1/admin/keys", json={"tenant": "maths", "note": "~ x"}, headers=ADMIN)
    told = NewKey.model_validate(made.json())
    assert (made.headers["cache-control"], told.note) == ("no-store", "~ x")
    listed = (await service.client.get("/v1/admin/keys", headers=ADMIN)).json()
    assert told.id in [key.id for key in KeyList.model_validate(listed).data]
    assert all("key" not in key and "hash" not in key for key in listed["data"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tenant": "nobody"}, 404),
        ({"tenant": "no\r\nbody"}, 404),
        ({"tenant": ""}, 400),
        ({}, 400),
        ({"tenant": "maths", "note": "x" * 201}, 400),
        ({"tenant": "maths", "note": "new\nline"}, 400),
        ({"tenant": "maths", "key": "ak-mine"}, 400),
    ],
)
async def test_a_key_for_nobody_or_with_an_odd_note_is_not_made(service, body, status):
    await service.client.put("/v1/admin/tenants/maths", headers=ADMIN)
    answer = await service.client.post("/v1/admin/keys", json=body, headers=ADMIN)
    assert answer.status_code == status, answer.text
    assert (await service.client.get("/v1/admin/keys", headers=ADMIN)).json()["data"] == []


async def test_the_reply_that_tells_a_key_is_not_kept_for_an_idempotency_key(service):
    await service.client.put("/v1/admin/tenants/maths", headers=ADMIN)
    given = ADMIN | {"Idempotency-Key": "again"}
    made = [
        await service.client.post("/v1/admin/keys", json={"tenant": "maths"}, headers=given) for _ in range(2)
    ]
    assert "idempotent-replayed" not in made[1].headers
    assert made[0].json().get("key", 0) != made[1].json().get("key", 1)


async def test_a_tenant_is_removed_with_its_keys_and_what_it_spent_stays(service):
    key = await new_key(service.client, "maths", tokens_per_day=1000)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "max_tokens": 8}
    spent = (await service.client.post("/v1/chat/completions", json=body, headers=bearer(key))).json()[
        "usage"
    ]
    gone = await service.client.delete("/v1/admin/tenants/maths", headers=ADMIN)
    assert TenantRemoved.model_validate(gone.json()).revoked == 1
    assert (await service.client.get("/v1/usage", headers=bearer(key))).status_code == 401
    await new_key(service.client, "maths", tokens_per_day=1000)
    told = await service.client.get("/v1/usage", params={"tenant": "maths", "days": 62}, headers=ADMIN)
    usage = TenantUsage.model_validate(told.json())
    assert len(usage.days) == 62
    assert usage.left.tokens == 1000 - spent["completion_tokens"]


@pytest.mark.parametrize(
    "query", ["days=0", "days=63", "days=x", "days=1e1", "days=٣", "hours=1", "days=" + "9" * 5000]
)
async def test_an_option_of_usage_that_cannot_be_is_named(service, query):
    answer = await service.client.get(f"/v1/usage?{query}", headers=bearer(ADMIN_KEY))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


@pytest.mark.parametrize("name", ["nobody", "a:b", "", "*"])
async def test_usage_of_nobody_is_a_404(service, name):
    answer = await service.client.get("/v1/usage", params={"tenant": name}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "tenant_not_found")
