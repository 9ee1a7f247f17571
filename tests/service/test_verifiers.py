"""The verifiers that a request can name, and how they are wired to what the configuration says."""

import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from service.schemas import VerifierRequest
from service.settings import Settings, WorldConfig
from service.verifying import BUILT_IN
from service.world import World
from strategies.registry import registry
from tests.service.live import live
from tests.stand_ins import StandInEmbeddings, StandInProcessReward, serving
from verifiers.embedding import Embedding
from verifiers.process_reward import ProcessReward
from verifiers.unit_tests import UnitTests

BEST = {"strategy": "best_of_n", "budget": {"samples": 2, "tokens": 100}}
TEXTS = ["7 and 8\n\nmake 15", "7 and 8\n\nmake 16"]


def configured(url: str, kind: str, **options) -> dict:
    return {"name": "mine", "kind": kind, "url": url, **({"model": "m"} if kind != "http" else {}), **options}


@asynccontextmanager
async def with_verifier(app: web.Application, kind: str, **options):
    async with serving(app) as url, live(TEXTS, verifiers=[configured(url, kind, **options)]) as served:
        yield served


async def test_a_process_reward_chooses_among_whole_responses():
    server = StandInProcessReward()
    async with with_verifier(server.app(), "process_reward", step_token="<+>", aggregate="min") as served:
        reply = (await served.scale(scaling=BEST | {"verifier": "mine"})).json()
    head = server.head(({"role": "user", "content": "What is 7 + 8?"},))
    expected = {}
    for text in TEXTS:
        first, second = text.split("\n\n")
        ids = [*head, *map(ord, first), 0]
        expected[text] = min(server.good(ids), server.good([*ids, *map(ord, second), 0]))
    assert {c["text"]: c["score"] for c in reply["candidates"]} == expected
    assert reply["candidates"][0]["text"] == max(expected, key=lambda text: expected[text])
    assert reply["scaling"]["verifier"] == "mine"
    assert reply["scaling"]["spent"]["verifier_tokens"] > 0
    assert len(server.asked("/pooling")) == 1


async def test_an_http_verifier_is_asked_at_the_configured_address():
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["X-Team"] == "maths"
        assert request.headers["Authorization"] == "Bearer k"
        told = (await request.json())["responses"]
        return web.json_response({"scores": [float("15" in response["content"]) for response in told]})

    app = web.Application()
    app.router.add_post("/score", answer)
    async with serving(app) as url:
        verifier = configured(f"{url}/score", "http", headers={"X-Team": "maths"}, api_key="k")
        async with live(TEXTS, verifiers=[verifier]) as served:
            reply = (await served.scale(scaling=BEST | {"verifier": "mine"})).json()
    assert [(c["text"], c["score"]) for c in reply["candidates"]] == [(TEXTS[0], 1.0), (TEXTS[1], 0.0)]
    assert reply["scaling"]["warnings"] == []


async def test_an_http_verifier_that_fails_leaves_the_answer_and_a_warning_without_its_address():
    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=500)

    app = web.Application()
    app.router.add_post("/", fail)
    async with with_verifier(app, "http") as served:
        response = await served.scale(scaling=BEST | {"verifier": "mine"})
    warnings = response.json()["scaling"]["warnings"]
    assert response.status_code == 200
    assert warnings == ["mine gave no scores, so they play no part: mine answered 500."]


async def test_an_embedding_scores_nothing():
    async with with_verifier(StandInEmbeddings({}).app(), "embedding") as served:
        response = await served.scale(scaling=BEST | {"verifier": "mine"})
        listed = (await served.client.get("/v1/verifiers")).json()["data"]
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (
        422,
        "verifier_required",
        "scaling.verifier",
    )
    assert error["message"].startswith("mine embeds steps and scores nothing. Name another: self_certainty")
    assert "mine" not in [verifier["name"] for verifier in listed]


async def test_the_first_configured_embedding_is_the_worlds():
    verifiers = [
        configured("http://x", "embedding"),
        configured("http://y", "embedding") | {"name": "second"},
    ]
    models = [{"name": "m", "urls": ["http://z"]}]
    world = World(Settings(), WorldConfig.model_validate({"models": models, "verifiers": verifiers}))
    assert isinstance(world.embedding, Embedding)
    assert world.embedding.name == "mine"
    assert World(Settings(), WorldConfig()).embedding is None


async def test_every_request_gets_a_process_reward_of_its_own():
    config = WorldConfig.model_validate({"verifiers": [configured("http://x", "process_reward")]})
    world = World(Settings(), config)
    strategy = registry()["best_of_n"]()
    one, other = (world.verifier("mine", strategy, None, None) for _ in range(2))
    assert isinstance(one, ProcessReward)
    assert one is not other
    assert one.http is other.http


@pytest.mark.parametrize("name", BUILT_IN)
async def test_an_option_that_a_verifier_does_not_take_is_refused_by_name(served, name):
    values = {"reference": "15", "model": "stand-in", "tests": "assert True", "entry_point": "f"}
    assert values.keys() == VerifierRequest.model_fields.keys() - {"name"}
    for option in values.keys() - BUILT_IN[name].options.keys():
        verifier = {"name": name, option: values[option]}
        response = await served.scale(scaling=BEST | {"verifier": verifier})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, f"scaling.verifier.{option}")
        assert error["message"] == f"{name} has no option {option!r}. Leave it out."


async def test_a_configured_verifier_takes_no_options():
    async with with_verifier(web.Application(), "http") as served:
        response = await served.scale(scaling=BEST | {"verifier": {"name": "mine", "tests": "x"}})
    assert response.json()["error"]["param"] == "scaling.verifier.tests"


@pytest.mark.parametrize(
    ("name", "option", "what"),
    [("exact", "reference", "the right answer"), ("unit_tests", "tests", "the tests to run")],
)
async def test_an_option_that_a_verifier_must_have_is_asked_for(served, name, option, what):
    response = await served.scale(scaling=BEST | {"verifier": name})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "verifier_required")
    assert error["param"] == f"scaling.verifier.{option}"
    assert error["message"] == f'{name} needs {what}: {{"name": "{name}", "{option}": "…"}}.'


@pytest.mark.parametrize("entry_point", ["", "1f", "f()", "a.b", "f\n", "é", "f" * 129])
async def test_an_entry_point_must_be_a_plain_name(served, entry_point):
    verifier = {"name": "unit_tests", "tests": "x", "entry_point": entry_point}
    response = await served.scale(scaling=BEST | {"verifier": verifier})
    assert response.status_code == 400
    assert "entry_point" in response.json()["error"]["param"]


async def test_tests_are_bounded(served):
    verifier = {"name": "unit_tests", "tests": "x" * 100_001}
    response = await served.scale(scaling=BEST | {"verifier": verifier})
    assert (response.status_code, "tests" in response.json()["error"]["param"]) == (400, True)


async def test_the_catalog_lists_what_can_be_named_without_addresses():
    verifiers = [
        configured("http://10.9.8.7", kind) | {"name": kind}
        for kind in ("process_reward", "http", "outcome_reward")
    ]
    async with live(verifiers=verifiers) as served:
        listed = (await served.client.get("/v1/verifiers")).json()["data"]
    assert [verifier["name"] for verifier in listed] == [
        *BUILT_IN,
        "process_reward",
        "http",
        "outcome_reward",
    ]
    assert "process_reward by the model m" in [verifier["description"] for verifier in listed]
    assert "10.9.8.7" not in json.dumps(listed)


async def test_all_requests_share_one_sandbox():
    world = World(Settings(), WorldConfig())
    asked = VerifierRequest(name="unit_tests", tests="assert f() == 1", entry_point="f")
    one, other = (world.verifier(asked, registry()["best_of_n"](), None, None) for _ in range(2))
    assert isinstance(one, UnitTests)
    assert (one.tests, one.entry_point) == ("assert f() == 1", "f")
    assert one.sandbox is other.sandbox
