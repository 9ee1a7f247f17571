import asyncio
import gzip
import json

import pytest
from aiohttp import web

from engines.base import EngineGarbage, EngineRefused, EngineUnavailable, Sample
from tests.stand_ins import serving
from tests.verifiers.scoring import MESSAGES, response
from verifiers.base import Response, Step
from verifiers.http import MOST_BYTES, Endpoint, HttpVerifier


class Service:
    """Answers with `body` and `status`, and keeps what it was asked."""

    def __init__(self, body=None, status=200, **options) -> None:
        self.answer = web.Response if isinstance(body, bytes) else web.json_response
        self.body, self.status, self.options = body, status, options
        self.asked: list = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request, await request.read()))
        if self.answer is web.Response:
            return web.Response(body=self.body, status=self.status, **self.options)
        return web.json_response(self.body, status=self.status, **self.options)


async def score(service, responses, *, seconds=None, timeout=10.0, path="/score?v=1", headers=None):
    async with serving(service.app()) as url:
        endpoint = Endpoint(url + path, headers)
        try:
            return await HttpVerifier("mine", endpoint, timeout).score(MESSAGES, responses, seconds=seconds)
        finally:
            await endpoint.close()


async def test_the_service_is_told_conversation_and_responses_and_gives_their_scores():
    service = Service({"scores": [0.5, -3, None]})
    steps = (Step("a\n\n", 2), Step("b", 1))
    searched = Response(Sample("a\n\nb", (), "stop"), "a\n\nb", None, steps)
    verdict = await score(
        service, [response("x", "15"), response("y"), searched], headers={"Authorization": "Bearer k"}
    )
    assert verdict.scores == (0.5, -3.0, None)
    assert (verdict.read, verdict.generated) == (0, 0)
    assert verdict.warnings == ("mine scored 2 of 3 responses.",)
    ((request, body),) = service.asked
    assert (request.method, request.path_qs) == ("POST", "/score?v=1")
    assert request.headers["Authorization"] == "Bearer k"
    assert json.loads(body) == {
        "messages": list(MESSAGES),
        "responses": [
            {"content": "x", "answer": "15"},
            {"content": "y", "answer": None},
            {"content": "a\n\nb", "answer": None, "steps": ["a\n\n", "b"]},
        ],
    }


async def test_no_responses_need_no_service():
    service = Service()
    assert (await score(service, [])).scores == ()
    assert service.asked == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"scores": [1]}, "1 scores for 2 responses"),
        ({"scores": ["a", 1]}, "must answer"),
        ({"scores": [True, 1]}, "must answer"),
        ({"score": [1, 1]}, "must answer"),
        ([1, 1], "must answer"),
        (b'{"scores": [NaN, 1]}', "must answer"),
        (b'{"scores": [1e999, 1]}', "must answer"),
        (b"\xff", "must answer"),
        (b"[" * 100_000, "must answer"),
        (b'{"scores": [1, 1], "note": "' + b"x" * MOST_BYTES + b'"}', "more than 1,048,576 bytes"),
    ],
)
async def test_an_answer_of_another_shape_is_garbage(body, says):
    with pytest.raises(EngineGarbage, match=says) as error:
        await score(Service(body), [response("x"), response("y")])
    assert "127.0.0.1" not in str(error.value)


async def test_a_compressed_answer_is_not_unpacked():
    bomb = gzip.compress(b" " * 10_000_000)
    with pytest.raises(EngineGarbage):
        await score(Service(bomb, headers={"Content-Encoding": "gzip"}), [response("x")])


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (500, EngineUnavailable, "mine answered 500"),
        (503, EngineUnavailable, "mine answered 503"),
        (429, EngineUnavailable, "mine answered 429"),
        (401, EngineRefused, "mine answered 401"),
        (204, EngineRefused, "mine answered 204"),
    ],
)
async def test_another_status_is_told_without_the_address(status, error, says):
    with pytest.raises(error, match=says) as raised:
        await score(Service(None if status == 204 else {"scores": [1]}, status), [response("x")])
    assert "127.0.0.1" not in str(raised.value)


async def test_a_redirect_is_not_followed():
    service = Service({"scores": [1]}, 307, headers={"Location": "/elsewhere"})
    with pytest.raises(EngineRefused, match="mine answered 307"):
        await score(service, [response("x")])
    assert len(service.asked) == 1


async def test_a_service_that_is_not_there_is_unavailable():
    endpoint = Endpoint("http://127.0.0.1:9/score")
    with pytest.raises(EngineUnavailable, match=r"^mine cannot be reached\.$"):
        await HttpVerifier("mine", endpoint).score(MESSAGES, [response("x")])
    await endpoint.close()


@pytest.mark.parametrize(("timeout", "seconds"), [(0.05, None), (10, 0.05), (0.05, 10)])
async def test_a_late_answer_is_no_score(timeout, seconds):
    async def hang(_):
        await asyncio.Event().wait()

    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/", hang)
    async with serving(app) as url:
        endpoint = Endpoint(url)
        verdict = await HttpVerifier("mine", endpoint, timeout).score(
            MESSAGES, [response("x")], seconds=seconds
        )
        await endpoint.close()
    assert verdict.scores == (None,)
    assert verdict.warnings == ("mine scored 0 of 1 responses in time.",)
