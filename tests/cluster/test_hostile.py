"""Requests that mean harm, through a real nginx and at a service itself: refused, and nothing leaks."""

import json
from contextlib import ExitStack

import pytest

from tests.cluster.cluster import ADMIN_KEY
from tests.cluster.hostile import (
    BODY_SECONDS,
    KNOCK,
    asked,
    bearer,
    closed,
    connected,
    memory,
    prompt,
    refused,
    said,
)

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture(params=["nginx", "service"])
def door(request, place):
    return place.entrances[request.param]


BEHIND = (
    b"GET /v1/admin/keys HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + ADMIN_KEY.encode() + b"\r\n\r\n"
)
UNCLEAR = (
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(BEHIND),
    b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(BEHIND),
    b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(BEHIND),
    b"Content-Length: %d\r\nContent-Length: %d\r\n" % (len(BEHIND), len(BEHIND)),
    b"Content-Length: 0, 5\r\n",
    b"Content-Length: +0\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x0\r\n",
    b"Content-Length: \xd9\xa5\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Content-Length : 0\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"X-A: b\r\n Content-Length: 0\r\n",
    b"X-A: b\rContent-Length: 0\r\n",
    b"X-A: b\x00c\r\n",
    b"X A: b\r\n",
    b": b\r\n",
)


@pytest.mark.parametrize("fields", UNCLEAR)
def test_a_request_whose_end_is_unclear_is_refused_and_nothing_behind_it_is_answered(door, fields):
    refused(said(door, KNOCK + fields + b"\r\n" + BEHIND), 400)


@pytest.mark.parametrize(
    "sent",
    [
        bytes(range(256)) * 4,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/models HTTP/3.7\r\nHost: a\r\n\r\n",
        b"GET /v1/models\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"get /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models?\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"BREW /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        KNOCK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc",
        KNOCK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc",
    ],
)
def test_what_is_no_http_is_refused_in_the_apis_shape(door, sent):
    refused(said(door, sent), 400)


@pytest.mark.parametrize(
    "method", [b"TRACE", b"CONNECT", b"OPTIONS", b"PUT", b"PATCH", b"DELETE", b"PROPFIND"]
)
def test_a_method_that_no_route_has_does_nothing(place, door, method):
    refused(said(door, asked(b"/v1/scale", place.mine, method)), 405)


HIDDEN = (
    b"/v1/admin/keys",
    b"/v1/admin/keys/",
    b"/v1//admin/keys",
    b"//v1/admin/keys",
    b"/./v1/admin/keys",
    b"/v1/admin%2fkeys",
    b"/v1%2fadmin/keys",
    b"/v1/%61dmin/keys",
    b"/%76%31/admin/keys",
    b"/v1/admin%252fkeys",
    b"/v1/admin/keys.",
    b"/v1/admin./keys",
    b"/v1/admin;a/keys",
    b"/v1/admin\\keys",
    b"/v1/admin%20/keys",
    b"/v1/admin/keys%00",
    b"/v1/models/../admin/keys",
    b"/v1/models/%2e%2e/admin/keys",
    b"/v1/models/..%2fadmin/keys",
    b"/v1/admin/keys?a=/../models",
    b"/v1/admin/keys#",
    b"http://a/v1/admin/keys",
    b"/metrics/",
    b"//metrics",
    b"/v1/../metrics",
    b"/v1/..%2fmetrics",
    b"/v1/%2e%2e/metrics",
    b"http://a/metrics",
    b"/nginx_status",
    b"/v1/..;/metrics",
)


@pytest.mark.parametrize("path", HIDDEN)
def test_no_path_leads_to_what_is_hidden(place, path):
    for headers in (bearer(ADMIN_KEY), place.mine, {}):
        refused(said(place.cluster.url, asked(path, headers)), 400, 401, 404)
    service = place.cluster.services[1].url
    if b"metrics" not in path:  # which is for whoever reaches a service
        refused(said(service, asked(path, place.mine)), 403, 404)
        refused(said(service, asked(path, {})), 401)


@pytest.mark.parametrize(
    "path", [b"/v1", b"/v1/jobs/..", b"/v1/models/", b"/v1/jobs/", b"/docs/", b"/healthz/", b"/v1/scale/"]
)
def test_nobody_is_sent_elsewhere(place, door, path):
    sent = asked(path, place.mine | {"X-Forwarded-Host": "evil.example"}, b"POST")
    answer = said(door, sent.replace(b"Host: a", b"Host: evil.example", 1))
    refused(answer, 404, 405)
    assert b"evil" not in answer
    assert b"ocation:" not in answer


@pytest.mark.parametrize(
    "fields",
    [
        {"X-Request-Id": "a%0d%0aX-Evil: 1"},
        {"X-Request-Id": 'evil","tenant":"root'},
        {"X-Request-Id": "evil" * 33},
        {"Idempotency-Key": "evil\tevil"},
        {"X-Original-URL": "/v1/admin/keys", "X-Rewrite-URL": "/v1/admin/keys", "X-Evil": "1"},
    ],
)
def test_a_field_of_a_request_makes_none_of_the_reply_or_the_log(place, door, fields):
    for path in (b"/v1/jobs/a%0d%0aX-Evil:%201", b"/v1/jobs?after=%0d%0aX-Evil:%201"):
        head, _, _ = said(door, asked(path, place.mine | fields)).lower().partition(b"\r\n\r\n")
        assert head.startswith(b"http/1.1 40")
        assert b"evil" not in head
    lines = place.cluster.services[0].said().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert not [one for one in events if "evil" in json.dumps(one) or one.get("tenant") == "root"]


@pytest.mark.parametrize(
    "fields", [b"X-A: " + b"a" * 1_000_000, b"\r\n".join(b"X-%d: a" % i for i in range(60_000))]
)
def test_a_head_that_is_too_long_is_refused(door, fields):
    with connected(door) as opened:
        try:
            for at in range(0, len(KNOCK + fields), 30_000):
                opened.sendall((KNOCK + fields)[at : at + 30_000])
        except ConnectionError:
            return
        assert opened.recv(100).split()[1] in (b"400", b"431")


@pytest.mark.parametrize("piece", [b"".join(b"X-%d: a\r\n" % i for i in range(5000)), b"a" * 60_000])
def test_what_comes_without_end_behind_a_body_is_cut_and_not_kept(place, piece):
    """Without a key: who has none is refused before, and may go on sending."""
    service = place.cluster.services[0]
    before = memory(service)
    for begun in (b"0\r\n", b"0\r\nX-A: ", b"5;a="):
        with connected(service.url) as opened:
            opened.sendall(KNOCK + b"Transfer-Encoding: chunked\r\n\r\n" + begun)
            with pytest.raises(ConnectionError):
                opened.sendall(piece * 1000)
    assert memory(service) < before + 30e6


def test_a_field_behind_a_body_is_none_of_the_head(place, door):
    body_of = json.dumps(prompt()).encode()
    head = KNOCK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body_of)
    key = place.mine["Authorization"].encode()
    refused(said(door, head + body_of + b"\r\n0\r\nAuthorization: " + key + b"\r\n\r\n"), 401)


def test_one_that_sends_slowly_is_cut(place):
    key = b"Authorization: " + place.mine["Authorization"].encode() + b"\r\n"
    slow = (
        b"",
        b"POST /v1/sc",
        KNOCK + b"X-A: b",
        KNOCK + key + b"Content-Length: 100\r\n\r\n{",
        KNOCK + key + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        KNOCK + key + b"Expect: 100-continue\r\nContent-Length: 4000000\r\n\r\n",
    )
    with ExitStack() as stack:
        opened = []
        for door in place.entrances.values():
            for begun in slow:
                opened.append(stack.enter_context(connected(door)))
                opened[-1].sendall(begun)
        closed(opened, BODY_SECONDS + 25)
    assert place.http.get(f"{place.cluster.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "id", ["*", "a:journal", "a%3Ajournal", "%0d%0a", "%ff", "..", "a" * 4000, "%F0%9F%92%A9", "None"]
)
def test_an_id_that_is_none_leads_nowhere(place, id):
    paths = (
        "/v1/jobs/{}",
        "/v1/jobs/{}/events",
        "/v1/jobs?after={}",
        "/v1/batches/{}",
        "/v1/batches?after={}",
        "/v1/files/{}",
    )
    for url in place.entrances.values():
        for path in paths:
            answer = place.http.get(url + path.format(id), headers=place.mine)
            assert answer.status_code == 404, answer.text
            assert len(answer.content) < 1000
            assert answer.json()["error"]["code"] in (
                "job_not_found",
                "batch_not_found",
                "file_not_found",
                "no_such_route",
            )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=1e3", "limit=%D9%A3", "limit=" + "9" * 4000, "limit="]
)
def test_a_page_that_is_none_is_refused(place, query):
    for path in ("jobs", "batches"):
        answer = place.http.get(f"{place.cluster.url}/v1/{path}?{query}", headers=place.mine)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "limit"


FILENAMES = (
    "filename*=undefined''a",
    "filename*=idna''%ff",
    "filename*=punycode''%ff",
    "filename*=a\0b''c",
    "filename*0*=undefined''a; filename*1=b",
)


@pytest.mark.parametrize("filename", FILENAMES)
def test_a_file_whose_name_cannot_be_read_is_refused(place, filename):
    part = '--b\r\nContent-Disposition: form-data; name="{}"; {}\r\n\r\n{}\r\n'
    form = part.format("purpose", "a=b", "batch") + part.format("file", filename, "{}") + "--b--\r\n"
    headers = place.mine | {"Content-Type": "multipart/form-data; boundary=b"}
    for url in place.entrances.values():
        answer = place.http.post(f"{url}/v1/files", content=form, headers=headers)
        assert answer.status_code == 400, answer.text
