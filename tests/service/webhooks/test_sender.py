"""Events are posted to the addresses that were checked, signed, in bounded time, and nowhere else."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from openai import InvalidWebhookSignatureError, OpenAI
from yarl import URL

from service.webhook_settings import WebhooksConfig
from service.webhooks import addresses
from service.webhooks.sender import NO_ANSWER, Sender
from tests.service.webhooks.receiver import Receiver
from tests.stand_ins import serving

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBvcGVyYXRvcg=="
ID, BODY = "evt_1", b'{"type": "job.completed"}'


@asynccontextmanager
async def sending(**config):
    sender = Sender(WebhooksConfig(**config))
    try:
        yield sender
    finally:
        await sender.close()


@pytest.mark.parametrize("secret", [SECRET, "a secret of 20 bytes"])
async def test_an_event_is_signed_so_that_openais_client_takes_it(secret):
    receiver = Receiver(200)
    async with serving(receiver.app()) as url, sending(secret=secret) as sender:
        assert await sender.post(URL(url + "/done?for=me"), ID, BODY) == (200, "status 200")
    ((headers, body),) = receiver.heard
    assert (body, receiver.paths) == (BODY, ["/done"])
    assert headers["Content-Type"] == "application/json"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    with OpenAI(api_key="-") as client:
        client.webhooks.verify_signature(body, headers, secret=secret)
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body + b" ", headers, secret=secret)


async def test_without_a_secret_nothing_is_signed():
    receiver = Receiver(204)
    async with serving(receiver.app()) as url, sending() as sender:
        assert (await sender.post(URL(url), ID, BODY))[0] == 204
    assert "webhook-signature" not in receiver.heard[0][0]


async def test_a_redirect_is_not_followed():
    receiver = Receiver(302, headers={"Location": "/elsewhere"})
    async with serving(receiver.app()) as url, sending() as sender:
        assert (await sender.post(URL(url) / "done", ID, BODY))[0] == 302
    assert receiver.paths == ["/done"]


async def test_a_host_that_says_nothing_is_given_up_in_time_and_a_long_answer_is_not_read():
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    silent = web.Application()
    silent.router.add_post("/", hang)
    async with serving(silent) as url, sending(seconds=0.05) as sender:
        assert await sender.post(URL(url), ID, BODY) == (NO_ANSWER, "TimeoutError")
    receiver = Receiver(200, body=b"x" * 50_000_000)
    async with serving(receiver.app()) as url, sending() as sender:
        assert (await sender.post(URL(url), ID, BODY))[0] == 200


@pytest.fixture
def names(monkeypatch):
    """What names stand for, in place of a name server; and what was asked of it."""
    found: dict[str, list[str]] = {}
    asked: list[str] = []

    def look_up(host: str, port: int, family: int):
        asked.append(host)
        kinds = ((socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in found[host])
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for kind, address in kinds]

    monkeypatch.setattr(addresses, "_look_up", look_up)
    return found, asked


async def test_a_name_that_stands_for_a_private_address_is_called_with_the_operators_word_alone(names):
    found, _ = names
    receiver = Receiver(200)
    async with serving(receiver.app()) as url:
        named = URL(url.replace("127.0.0.1", "hooks.example"))
        for stands_for in (["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]):
            found["hooks.example"] = stands_for
            async with sending() as sender:
                assert await sender.post(named, ID, BODY) == (NO_ANSWER, "AddressRefused")
        assert receiver.heard == []
        found["hooks.example"] = ["127.0.0.1"]
        async with sending(private=True) as sender:
            assert (await sender.post(named, ID, BODY))[0] == 200
    assert receiver.heard[0][0]["Host"].startswith("hooks.example:")


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing(names, monkeypatch):
    """The connection goes to the address that was checked: nothing is looked up a second time."""
    found, asked = names
    called = []

    async def connect(addr_infos, **_):
        called.extend(address[4][0] for address in addr_infos)
        found["hooks.example"] = ["127.0.0.1"]
        raise OSError("unreachable")

    monkeypatch.setattr("aiohappyeyeballs.start_connection", connect)
    found["hooks.example"] = ["93.184.215.14"]
    async with sending() as sender:
        for why in ("OSError", "AddressRefused"):
            assert await sender.post(URL("http://hooks.example/"), ID, BODY) == (NO_ANSWER, why)
    assert called == ["93.184.215.14"]
    assert asked == ["hooks.example"] * 2


async def test_a_name_that_cannot_be_looked_up_is_no_answer(monkeypatch):
    def fail(*_):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(addresses, "_look_up", fail)
    async with sending() as sender:
        assert await sender.post(URL("http://hooks.example/"), ID, BODY) == (NO_ANSWER, "gaierror")


async def test_no_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    receiver = Receiver(200)
    async with serving(receiver.app()) as url, sending() as sender:
        assert (await sender.post(URL(url), ID, BODY))[0] == 200
