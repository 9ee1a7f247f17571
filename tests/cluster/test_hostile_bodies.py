"""Bodies, patterns and addresses that mean harm: refused in little time, whoever sends them."""

import gzip
import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from tests.cluster.cluster import Service
from tests.cluster.hostile import MARKER, prompt, worked
from tests.cluster.processes import eventually

MOST_WORK = 0.3
"""Seconds."""

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture(params=["nginx", "service"])
def post(request, place):
    door = place.entrances[request.param]

    def send(content, path="/v1/scale", **headers):
        return place.http.post(door + path, content=content, headers=place.mine | headers)

    return send


@pytest.fixture
def quick(place):
    """That the services have little to do with what the test sends; others wait meanwhile."""
    before = worked(place.cluster.services)
    yield
    assert worked(place.cluster.services) < before + MOST_WORK


def told(answer, status):
    assert answer.status_code == status, answer.text[:500]
    assert len(answer.content) < 2000
    return answer.json()["error"]


DEEP = b"[" * 100_000 + b"]" * 100_000
BEGUN = b'{"model":"simulated","messages":[{"role":"user","content":"plugh-xyzzy Problem 1"}],'
ENDED = b'"scaling":{"budget":{"samples":2}}}'
FLOOD = b"{" + b",".join(b'"%x":0' % i for i in range(390_000)) + b"}"

BROKEN = {
    "nothing": b"",
    "no object": b"[]",
    "deep lists": DEEP,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and open": b"[" * 4_000_000,
    "deep parameters": BEGUN + b'"scaling":{"params":{"a":' + DEEP + b"}}}",
    "deep schema": BEGUN
    + b'"scaling":{"answer":{"format":"json","schema":'
    + b'{"items":' * 190
    + b"{}"
    + b"}" * 193,
    "many fields": FLOOD,
    "many fields of a budget": BEGUN + b'"scaling":{"budget":' + FLOOD + b"}}",
    "many free fields": BEGUN + b'"chat_template_kwargs":' + FLOOD + b"}",
    "many tokens": BEGUN + b'"logit_bias":' + FLOOD + b"}",
    "many parts": b'{"model":"simulated","messages":[{"role":"user","content":['
    + b"1," * 1_900_000
    + b"1]}]}",
    "many messages": b'{"model":"simulated","messages":[' + b"{}," * 1_300_000 + b"{}]}",
    "many quotes": b'"' * 4_000_000,
    "a huge integer": BEGUN + b'"max_tokens":1' + b"0" * 5000 + b"}",
    "a huge number": BEGUN + b'"scaling":{"budget":{"seconds":1e400}}}',
    "no number": BEGUN + b'"scaling":{"budget":{"usd":NaN}}}',
    "half a character": BEGUN + b'"user":"\\ud800"}',
    "half a name": BEGUN + b'"\\udfff":1}',
    "no UTF-8": BEGUN + b'"user":"\xff\xfe"}',
    "UTF-16": (BEGUN + ENDED).decode().encode("utf-16"),
    "NUL": BEGUN + b'"user":"a\\u0000b"}',
    "two bodies": BEGUN + ENDED + BEGUN + ENDED,
    "a name given twice, above the limit": BEGUN + b'"scaling":{"budget":{"samples":2,"samples":1000000}}}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_body_that_cannot_be_read_is_refused_in_little_time(post, quick, case):
    told(post(BROKEN[case]), 400)


@pytest.mark.parametrize("case", ["deep lists", "many fields", "many quotes", "NUL"])
def test_so_is_such_a_line_of_a_batch_and_such_a_job(post, quick, case):
    told(post(BROKEN[case], "/v1/jobs"), 400)
    line = b'{"custom_id":"a","method":"POST","url":"/v1/scale","body":' + BROKEN[case] + b"}"
    told(post(line, "/v1/batches"), 400)


@pytest.mark.parametrize("lines", [b"\n" * 19_000_000, b"[\n" * 9_000_000, b"{}\r\n\r\n" * 3_000_000])
def test_so_are_millions_of_lines(post, quick, lines):
    assert post(lines, "/v1/batches").status_code == 400


def test_a_name_given_twice_counts_once(post):
    twice = BEGUN + b'"scaling":{"budget":{"samples":1000000}},' + ENDED
    assert post(twice).json()["scaling"]["spent"]["samples"] == 2


def test_a_body_has_four_megabytes_and_no_more(post):
    long = {"role": "user", "content": f"{MARKER} " + "y" * 3_900_000}
    error = told(post(json.dumps(prompt() | {"messages": [long]}).encode()), 400)
    assert error["code"] == "context_length_exceeded"
    assert told(post(b" " * 4_000_001), 413)["code"] == "body_too_large"
    chunks = (b" " * 1_000_000 for _ in range(5))
    assert told(post(chunks), 413)["code"] == "body_too_large"


def packed():
    zeros = b"0" * 100_000_000
    return {
        "gzip": gzip.compress(zeros),
        "deflate": zlib.compress(zeros),
        "br": b"\x5b" * 1000,
        "zstd": b"\x28" * 99,
    }


def test_nothing_is_unpacked(place, post):
    """nginx says so; a service reads the bytes as they are."""
    for encoding, bomb in packed().items():
        answer = post(bomb, **{"Content-Encoding": encoding})
        assert told(answer, answer.status_code)["code"] in ("content_encoding", "invalid_json")
        assert answer.status_code in (400, 415)
    honest = gzip.compress(json.dumps(prompt()).encode())
    assert post(honest, **{"Content-Encoding": "gzip"}).status_code in (400, 415)


SLOW_ELSEWHERE = (
    r"(a+)+$",
    r"(a|a)*b",
    r"(.*)*x",
    r"(\w+\s?)+!",
    r"(x+x+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
)


@pytest.mark.parametrize("pattern", SLOW_ELSEWHERE)
def test_a_pattern_that_takes_others_for_ever_is_matched_at_once(post, pattern):
    """The reference is matched too, and it is long."""
    asked = prompt()
    asked["scaling"] |= {"strategy": "best_of_n", "answer": {"format": "regex", "pattern": pattern}}
    asked["scaling"]["verifier"] = {"name": "exact", "reference": "a" * 50_000 + "!"}
    answer = post(json.dumps(asked).encode())
    assert answer.status_code == 200, answer.text[:500]
    assert not any("took too long" in warning for warning in answer.json()["scaling"].get("warnings", []))


@pytest.mark.parametrize(
    "pattern", ["(?=a)", r"(a)\1", "((a{1,99}){1,99}){1,99}", r"\p{L}{1,900}", "a" * 5000, "(" * 900, "["]
)
def test_a_pattern_that_is_too_much_is_refused(post, pattern):
    asked = prompt()
    asked["scaling"]["answer"] = {"format": "regex", "pattern": pattern}
    assert told(post(json.dumps(asked).encode()), 400)["param"] == "scaling.answer.pattern"


SCHEMAS = {
    "elsewhere": {"$ref": "http://169.254.169.254/latest/meta-data"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a dialect elsewhere": {"$schema": "http://127.0.0.1:1/a", "type": "object"},
    "a name elsewhere": {"$id": "http://127.0.0.1:1/a", "$ref": "b"},
    "a heavy pattern": {"pattern": "((a{1,100}){1,100}){1,100}"},
    "unevaluated and fanning out": {"unevaluatedProperties": False, "allOf": [{"$ref": "#"}] * 9},
    "a hundred thousand characters": {"enum": list(range(20_000))},
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_schema_that_is_too_much_is_refused(post, case):
    asked = prompt()
    asked["scaling"]["answer"] = {"format": "json", "schema": SCHEMAS[case]}
    told(post(json.dumps(asked).encode()), 400)
    asked = prompt() | {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMAS[case]}}}
    told(post(json.dumps(asked).encode()), 400)


def test_a_schema_that_fans_out_holds_up_nobody(place, post):
    fan = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)}
    asked = prompt()
    asked["scaling"]["answer"] = {
        "format": "json",
        "schema": {"$defs": fan | {"d30": {"minimum": 0}}, "$ref": "#/$defs/d0"},
    }
    assert post(json.dumps(asked).encode()).status_code == 200
    assert place.http.get(f"{place.cluster.url}/healthz").status_code == 200


WEBHOOKS = (
    "http://127.0.0.1/",
    "https://127.1/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://2130706433/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::1%25lo]/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00:ec2::254]/",
    "https://localhost/",
    "https://localhost./",
    "https://hooks.example./",
    "https://hooks.example.evil.example/",
    "https://hooks.example@127.0.0.1/",
    "https://127.0.0.1@hooks.example/",
    "https://hooks.example#@127.0.0.1/",
    "https://127.0.0.1\\@hooks.example/",
    "https://hooks.example%2f.evil.example/",
    "https://hooks.example\r\nHost: evil.example/",
    "https://hooks\u3002example/",
    "http://hooks.example/",
    "https://hooks.example:6379/",
    "gopher://hooks.example:6379/_FLUSHALL",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//hooks.example/",
    "https://",
    "https://hooks.example/" + "a" * 3000,
)


@pytest.mark.parametrize("url", WEBHOOKS)
def test_a_webhook_goes_nowhere_that_is_not_listed(post, url):
    answer = post(json.dumps(prompt() | {"webhook": url}).encode(), "/v1/jobs")
    assert told(answer, answer.status_code)["code"] in (
        "webhook_not_allowed",
        "invalid_webhook",
        "invalid_value",
    )
    assert answer.status_code in (400, 422)
    if url.isprintable() and url.isascii():
        line = {"custom_id": "a", "method": "POST", "url": "/v1/scale", "body": prompt()}
        assert post(json.dumps(line).encode(), "/v1/batches", **{"X-Aliquot-Webhook": url}).status_code >= 400


def test_a_listed_name_of_this_machine_is_not_called(place):
    """`unharmed` sees that nobody has connected."""
    asked = prompt() | {"webhook": f"{place.hook}/done"}
    taken = place.http.post(f"{place.cluster.url}/v1/jobs", json=asked, headers=place.mine)
    assert taken.status_code == 202, taken.text
    refusal = f'"webhook_id":"evt_{taken.json()["id"]}_completed","why":"AddressRefused"'
    eventually(lambda: any(refusal in service.said() for service in place.cluster.services), 20)


def test_a_redirect_of_a_webhook_is_not_followed(place, tmp_path):
    came = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.server.server_port, self.path))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{inner.server_port}/inner")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as outer, HTTPServer(("127.0.0.1", 0), Hook) as inner:
        threads = [threading.Thread(target=one.serve_forever) for one in (outer, inner)]
        service = open_service(place, tmp_path, f"http://localhost:{outer.server_port}")
        try:
            for thread in threads:
                thread.start()
            service.start()
            service.ready()
            webhook = f"http://localhost:{outer.server_port}/outer"
            assert (
                place.http.post(f"{service.url}/v1/jobs", json=prompt() | {"webhook": webhook}).status_code
                == 202
            )
            eventually(lambda: '"why":"status 307"' in service.said(), 20)
        finally:
            service.stop()
            outer.shutdown()
            inner.shutdown()
    assert came == [(outer.server_port, "/outer")]


def open_service(place, folder, host):
    """A service that asks for no key and calls private addresses, in the same Redis, apart from the others."""
    config = yaml.safe_load((place.folder / "world.yaml").read_text())
    config["webhooks"] = {"hosts": [host], "private": True, "tries": 1}
    (folder / "world.yaml").write_text(yaml.safe_dump(config))
    env = {
        "ALIQUOT_REDIS_URL": place.cluster.redis.redis_url,
        "ALIQUOT_REDIS_PREFIX": "open",
        "ALIQUOT_AUTH": "off",
    }
    return Service(folder, "open", folder / "world.yaml", env)
