"""Keys that open nothing, and what is another tenant's, over two replicas: as if it were not there."""

import json
from functools import partial

import pytest

from tests.cluster.cluster import ADMIN_KEY
from tests.cluster.hostile import bearer, prompt
from tests.cluster.processes import eventually

pytestmark = pytest.mark.usefixtures("unharmed")


def everywhere(place):
    return [place.cluster.url, *(service.url for service in place.cluster.services)]


def same(answers):
    """That they are one answer, but for what names the request and the moment; its status."""

    def told(answer):
        passing = ("x-request-id", "date", "server", "connection", "content-length")
        return (
            answer.status_code,
            answer.content,
            {k: v for k, v in answer.headers.items() if k not in passing},
        )

    (one,) = {json.dumps(told(a), default=bytes.decode, sort_keys=True) for a in answers}
    return json.loads(one)[0]


ROUTES = (
    ("POST", "/v1/scale"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/models"),
    ("POST", "/v1/feedback"),
    ("POST", "/v1/budget/cost"),
    ("GET", "/v1/nothing"),
)


def test_a_key_that_opens_nothing_is_told_nothing_else(place):
    key = place.mine["Authorization"].removeprefix("Bearer ")
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    unknown = "ak-0123456789abcdef-" + key.split("-", 2)[2]
    offered = [
        {},
        {"Authorization": "Bearer"},
        bearer(wrong),
        bearer(unknown),
        bearer(key[:-1]),
        bearer(f"{key}, Bearer {key}"),
        bearer("A" * 600),
        bearer(ADMIN_KEY[:-1]),
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"X-Api-Key": key},
        {"Cookie": f"Authorization=Bearer {key}"},
        {"Proxy-Authorization": f"Bearer {key}"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    ]
    place.secrets |= {wrong, unknown}
    for method, path in ROUTES:
        answers = [
            place.http.request(method, url + path, headers=headers)
            for headers in offered
            for url in everywhere(place)
        ]
        twice = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
        services = [service.url for service in place.cluster.services]
        answers += [place.http.request(method, url + path, headers=twice) for url in services]
        assert same(answers) == 401


def test_a_key_that_is_revoked_on_one_replica_opens_nothing_on_any_from_then_on(place):
    for by_tenant in (False, True):
        for at in (0, 1):
            key = place.tenant("leaving")
            id = key["Authorization"].split("-")[1]
            for url in everywhere(place):
                assert place.http.get(f"{url}/v1/models", headers=key).status_code == 200
            path = "/v1/admin/tenants/leaving" if by_tenant else f"/v1/admin/keys/{id}"
            assert place.admin("DELETE", path, at=at).status_code == 200
            answers = [place.http.get(f"{url}/v1/models", headers=key) for url in everywhere(place)]
            assert same(answers) == 401


def test_a_tenant_administers_nothing(place):
    tried = [
        ("GET", "/v1/admin/keys", None),
        ("POST", "/v1/admin/keys", {"tenant": "mine"}),
        ("GET", "/v1/admin/tenants", None),
        ("PUT", "/v1/admin/tenants/mine", {}),
        ("DELETE", "/v1/admin/tenants/other", None),
        ("DELETE", "/v1/admin/keys/0123456789abcdef", None),
        ("POST", "/v1/profiles", {"model": "simulated", "problems": []}),
        ("GET", "/v1/usage?tenant=other", None),
        ("GET", "/v1/usage?tenant=nobody", None),
    ]
    for method, path, sent in tried:
        url = place.cluster.services[1].url + path
        answer = place.http.request(method, url, headers=place.mine, json=sent)
        assert answer.status_code == 403, (path, answer.text)
        assert answer.json()["error"]["code"] == "admin_only"


@pytest.fixture(scope="module")
def theirs(place):
    """Ids of what another tenant has, each where it is asked for."""
    url, http = place.cluster.url, place.http
    job = http.post(f"{url}/v1/jobs", json=prompt(), headers=place.other).json()["id"]
    line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/scale", "body": prompt()})
    batch = http.post(f"{url}/v1/batches", content=line, headers=place.other).json()["id"]
    form = {"file": ("a.jsonl", line), "purpose": (None, "batch")}
    file = http.post(f"{url}/v1/files", files=form, headers=place.other).json()["id"]
    response = http.post(f"{url}/v1/scale", json=prompt(), headers=place.other).json()["id"]

    def ended(path):
        return http.get(f"{url}/v1/{path}", headers=place.other).json()["status"] == "completed"

    for path in (f"jobs/{job}", f"batches/{batch}"):
        eventually(partial(ended, path), 20)
    return {"job": job, "batch": batch, "line": f"{batch}-0", "file": file, "response": response}


OTHERS = (
    ("job", "GET", "/v1/jobs/{id}", None),
    ("job", "DELETE", "/v1/jobs/{id}", None),
    ("job", "GET", "/v1/jobs/{id}/events", None),
    ("job", "GET", "/v1/jobs/{id}/journal", None),
    ("job", "GET", "/v1/jobs?after={id}", None),
    ("line", "GET", "/v1/jobs/{id}", None),
    ("line", "GET", "/v1/jobs/{id}/journal", None),
    ("batch", "GET", "/v1/batches/{id}", None),
    ("batch", "GET", "/v1/batches/{id}/results", None),
    ("batch", "POST", "/v1/batches/{id}/cancel", None),
    ("batch", "GET", "/v1/batches?after={id}", None),
    ("batch", "GET", "/v1/files/file-{id}-output", None),
    ("batch", "GET", "/v1/files/file-{id}-output/content", None),
    ("file", "GET", "/v1/files/{id}", None),
    ("file", "GET", "/v1/files/{id}/content", None),
    ("file", "DELETE", "/v1/files/{id}", None),
    ("file", "POST", "/v1/batches", '{"input_file_id": "{id}", "endpoint": "/v1/scale"}'),
    ("response", "POST", "/v1/feedback", '{"id": "{id}", "correct": true}'),
)


@pytest.mark.parametrize(("kind", "method", "path", "sent"), OTHERS)
def test_what_is_anothers_is_as_if_it_had_never_been(place, theirs, kind, method, path, sent):
    id = theirs[kind]
    never = "".join("0" if one in "123456789abcdef" else one for one in id.partition("_")[2] or id[-32:])
    never = id[: -len(never)] + never
    answers = []
    for asked in (id, never):
        for url in everywhere(place):
            headers = place.mine | {"Content-Type": "application/json"}
            body = sent and sent.replace("{id}", asked)
            answer = place.http.request(
                method, url + path.replace("{id}", asked), headers=headers, content=body
            )
            answer._content = answer.content.replace(asked.encode(), b"ID")
            answers.append(answer)
    assert same(answers) == 404
    assert place.http.get(f"{place.cluster.url}/v1/jobs/{theirs['job']}", headers=place.other).json()[
        "result"
    ]


def test_lists_hold_what_is_ones_own_alone(place, theirs):
    newcomer = place.tenant("newcomer")
    for path in ("jobs", "batches", "files"):
        for url in everywhere(place):
            assert place.http.get(f"{url}/v1/{path}", headers=newcomer).json()["data"] == []
    for url in everywhere(place):
        usage = place.http.get(f"{url}/v1/usage", headers=newcomer).json()
        assert usage["days"][0]["tokens"] == usage["days"][0]["requests"] == 0


def test_an_idempotency_key_is_each_tenants_own(place):
    url, headers = place.cluster.url, {"Idempotency-Key": "the same"}
    ours, again, theirs = (
        place.http.post(f"{url}/v1/scale", json=prompt(), headers=who | headers)
        for who in (place.mine, place.mine, place.other)
    )
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == ours.json()
    assert "idempotent-replayed" not in theirs.headers
    assert theirs.json()["id"] != ours.json()["id"]
    other = place.http.post(f"{url}/v1/scale", json=prompt(2), headers=place.other | headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    "given",
    [
        "x",
        "-1",
        "$",
        "+",
        "0-0; DEL",
        "99999999999999999999-0",
        "1-1-1",
        "18446744073709551615-18446744073709551615",
    ],
)
def test_an_event_id_that_is_none_is_refused(place, theirs, given):
    answer = place.http.get(
        f"{place.cluster.url}/v1/jobs/{theirs['job']}/events", headers=place.other | {"Last-Event-ID": given}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Last-Event-ID"


def test_what_a_tenant_may_not_use_it_cannot_come_by(place):
    barred = place.tenant("barred", strategies=["majority"], most={"samples": 8})
    bodies = {
        "not_allowed": [
            prompt() | {"scaling": {"strategy": "best_of_n", "verifier": "orm"}},
            prompt() | {"scaling": {"strategy": "auto"}},
        ],
        "above_limit": [prompt() | {"scaling": {"budget": {"samples": 9}}}],
    }
    for code, asked in bodies.items():
        for one in asked:
            for url in everywhere(place):
                for path in ("/v1/scale", "/v1/chat/completions", "/v1/jobs"):
                    answer = place.http.post(url + path, json=one, headers=barred)
                    assert answer.status_code in (400, 403), answer.text
                    assert answer.json()["error"]["code"] == code
                line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/scale", "body": one})
                answer = place.http.post(f"{url}/v1/batches", content=line, headers=barred)
                assert answer.status_code == 400
                assert answer.json()["errors"]["data"][0]["code"] == code
    nothing = place.tenant("nothing", models=[])
    answer = place.http.post(f"{place.cluster.url}/v1/scale", json=prompt(), headers=nothing)
    assert answer.status_code == 403
    assert answer.json()["error"]["param"] == "model"


def test_the_store_holds_no_key(place):
    redis = place.cluster.redis
    redis.ask("BGREWRITEAOF")
    data = b"".join(path.read_bytes() for path in redis.log.parent.rglob("*") if path.is_file())
    assert b"mine" in data
    for secret in place.secrets:
        assert secret.encode() not in data
