"""What the pages say is run: requests, files, programs and links, and that no field, setting or metric is left out."""

import ast
import asyncio
import json
import re
import shlex
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

import strategies
from service.budget_replies import Recommendation
from service.budget_schemas import CostRequest, ShapeRequest
from service.job_schemas import JobRequest
from service.profile_replies import Feedback, ProfileSummary
from service.profile_schemas import FeedbackRequest, ProfileRequest, SampleRequest
from service.recommend_schemas import RecommendRequest
from service.schemas import AnswerRequest, ChatRequest, ScalingRequest, read_chat, read_scaling
from service.settings import (
    Defaults,
    EmbeddingConfig,
    HttpConfig,
    JudgeConfig,
    Limits,
    ModelConfig,
    OutcomeRewardConfig,
    ProcessRewardConfig,
    Settings,
    WorldConfig,
    load_world,
)
from service.webhook_settings import WebhooksConfig
from service.world import World
from strategies.registry import describe, registry
from tests.reference import ROOT
from tests.service.live import live
from tests.stand_ins import MODEL

DOCS = ROOT / "docs"
REQUESTS = (ChatRequest, ScalingRequest, CostRequest, ShapeRequest, RecommendRequest, JobRequest)
PROFILE_REQUESTS = (ProfileRequest, SampleRequest, FeedbackRequest, ProfileSummary, Feedback)
VERIFIERS = (OutcomeRewardConfig, ProcessRewardConfig, JudgeConfig, HttpConfig, EmbeddingConfig)
PAGES = {page.stem: page.read_text() for page in sorted(DOCS.glob("*.md"))}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def examples(language: str) -> list:
    """Every block in a language, of all pages, named by its page and place."""
    found = ((page, i, text) for page in PAGES for i, text in enumerate(blocks(page, language)))
    return [pytest.param(text, id=f"{name}-{i}") for name, i, text in found]


def curls() -> list:
    found = (param for param in examples("bash") if param.values[0].startswith("curl"))
    return [pytest.param(shlex.split(param.values[0]), id=param.id) for param in found]


@pytest.fixture
def short_m_at_k(tmp_path, monkeypatch):
    """The strategy that strategies.md adds, as a file beside the others."""
    (code,) = blocks("strategies", "python")
    (tmp_path / "documented_strategy.py").write_text(code)
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    registry.cache_clear()
    yield registry()["short_m_at_k"]
    registry.cache_clear()


@pytest.fixture
def quiet():
    with capture_logs():
        yield


@pytest.mark.parametrize("body", examples("json"))
@pytest.mark.usefixtures("short_m_at_k", "quiet")
async def test_a_request_is_answered(body):
    if "messages" not in body:
        read_scaling(json.dumps(json.loads(body)["scaling"]))
        return
    request = json.loads(body)
    read_chat(body.encode())
    async with live(['{"name": "weather", "arguments": {"city": "Oslo"}}'] * 64) as served:
        response = await served.client.post("/v1/chat/completions", json=request | {"model": MODEL})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("words", curls())
@pytest.mark.usefixtures("quiet")
async def test_a_curl_is_answered_as_the_page_says(words):
    path = words[2].removeprefix("http://127.0.0.1:8080")
    special = {
        "/v1/budget/cost": priced_as_shown,
        "/v1/budget/recommend": recommended_as_shown,
        "/v1/profiles": measured_as_shown,
        "/v1/feedback": judged,
        "/v1/batches": batched,
        "/v1/jobs": accepted,
    }
    if path in special:
        await special[path](path, words[words.index("-d") + 1])
        return
    body = read_chat(words[words.index("-d") + 1].encode())
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    async with live(["15"] * 64) as served:
        request = body.model_dump(exclude_unset=True, by_alias=True) | {"model": MODEL}
        response = await served.client.post(path, content=json.dumps(request), headers=headers)
    luck = body.scaling is not None and body.scaling.strategy == "luck"
    assert response.status_code == (422 if luck else 200), response.text
    if luck:
        assert response.json()["error"]["message"] in PAGES["api"]


async def priced_as_shown(path: str, body: str) -> None:
    async with live() as served:
        response = await served.client.post(path, content=body)
    shown = next(text for text in blocks("api", "text") if text.startswith('{"eflops"'))
    assert response.json() == json.loads(shown)


async def recommended_as_shown(path: str, body: str) -> None:
    (profile,) = (word for param in curls() for word in param.values[0] if '"problems"' in word)
    async with live() as served:
        for route, wanted in (("/v1/profiles", profile), (path, body)):
            response = await served.client.post(route, content=wanted.replace("smollm2-135m", MODEL))
            assert response.status_code == 200, response.text
    told = Recommendation.model_validate(response.json())
    shown = next(text for text in blocks("api", "text") if text.startswith('{"plan"'))
    assert told.reasons[0] in shown
    plan = json.loads(shown[len('{"plan": ') : shown.index(' "predicted"')].rstrip().removesuffix(","))
    assert plan | {"model": MODEL} == told.plan.model_dump()


async def measured_as_shown(path: str, body: str) -> None:
    async with live() as served:
        response = await served.client.post(path, content=body.replace("smollm2-135m", MODEL))
    shown = next(text for text in blocks("api", "text") if '"wrong_agreement"' in text)
    expected, told = json.loads(shown), response.json()
    assert told.keys() == expected.keys()
    assert told["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-4)
    assert told["tokens"] == pytest.approx(expected["tokens"], rel=1e-4)
    assert told["verifiers"] == expected["verifiers"]


async def accepted(path: str, body: str) -> None:
    async with live(["15"] * 12) as served:
        response = await served.client.post(path, content=body.replace("smollm2-135m", MODEL))
    assert response.status_code == 202, response.text
    shown = json.loads(next(text for text in blocks("api", "text") if text.startswith('{"id": "job_')))
    told = response.json()
    assert told.keys() == shown.keys()
    assert (told["status"], told["attempts"], told["priority"]) == (shown["status"], 0, shown["priority"])


async def batched(path: str, body: str) -> None:
    async with live(["15", "16"] * 8) as served:
        response = await served.client.post(path, content=body.replace("smollm2-135m", MODEL))
    assert response.status_code == 200, response.text
    shown = next(text for text in blocks("api", "text") if text.startswith('{"id": "batch_'))
    told, expected = response.json(), json.loads(shown)
    assert told.keys() == expected.keys()
    assert told["request_counts"] == expected["request_counts"]


async def judged(path: str, body: str) -> None:
    async with live(["15"] * 8) as served:
        id = (await served.chat()).json()["id"]
        response = await served.client.post(path, json=json.loads(body) | {"id": id})
    assert response.status_code == 200, response.text
    assert (response.json()["task"], response.json()["counted"]) == ("default", True)


@pytest.mark.parametrize("text", examples("yaml"))
def test_a_configuration_is_taken(tmp_path, text):
    file = tmp_path / "world.yaml"
    file.write_text(text)
    World(Settings(), load_world(file))


@pytest.mark.usefixtures("quiet")
async def test_the_openai_client_works_as_shown(capsys):
    (code,) = blocks("api", "python")
    async with live(["15", "14"] * 8) as served:
        program = code.replace("http://127.0.0.1:8080", served.url).replace("smollm2-135m", MODEL)
        await asyncio.to_thread(exec, compile(program + "\nclient.close()", "api.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[:2] == ["15", "14"]


@pytest.mark.usefixtures("quiet")
def test_the_programs_of_testing_run_and_print_what_is_shown(capsys):
    first, second = blocks("testing", "python")
    exec(compile(first, "testing.md", "exec"), {"__name__": "first"})
    assert capsys.readouterr().out == blocks("testing", "text")[0]
    exec(compile(second, "testing.md", "exec"), {"__name__": "second"})
    assert capsys.readouterr().out == "15 2\n"


@pytest.mark.usefixtures("quiet")
async def test_the_added_strategy_works_from_its_file_to_the_reply(short_m_at_k):
    assert describe(short_m_at_k)["params"]["properties"]["m"]["default"] == 3
    scaling = {
        "strategy": "short_m_at_k",
        "params": {"m": 3},
        "budget": {"samples": 5},
        "answer": {"format": "number"},
    }
    async with live() as served:
        engine = served.script(["7", "a long way to 9" * 20, "8", "8", "x" * 300], step_seconds=0.001)
        reply = (await served.chat(scaling=scaling)).json()["scaling"]
    assert [(a["answer"], a["votes"]) for a in reply["answers"]] == [("8", 2), ("7", 1)]
    assert reply["spent"]["samples"] == 5
    assert engine.generated < 100


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", PAGES[page]):
        linked = DOCS / (target or f"{page}.md")
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {head.lower().replace(" ", "-") for head in heads}, anchor


def test_no_field_setting_strategy_or_parameter_is_left_out():
    wanted = [
        *(("api", name) for model in (*REQUESTS, *PROFILE_REQUESTS) for name in model.model_fields),
        *(("answers", field.alias or name) for name, field in AnswerRequest.model_fields.items()),
        *(("configuration", f"ALIQUOT_{name.upper()}") for name in Settings.model_fields),
        *(
            ("configuration", name)
            for model in (WorldConfig, ModelConfig, *VERIFIERS, Defaults, Limits, WebhooksConfig)
            for name in model.model_fields
        ),
        *(("strategies", name) for name in registry()),
        *(
            ("strategies", f"`{param}`")
            for cls in registry().values()
            for param in describe(cls)["params"].get("properties", {})
        ),
    ]
    assert [(page, name) for page, name in wanted if name not in PAGES[page]] == []


@pytest.mark.usefixtures("quiet")
async def test_every_metric_is_explained():
    async with live() as served:
        text = (await served.client.get("/metrics")).text
    named = re.findall(r"^# TYPE (aliquot_\w+) (?:counter|gauge|histogram)", text, re.MULTILINE)
    page = PAGES["operations"]
    assert [name for name in named if name not in page and not name.endswith("_created")] == []


def test_every_error_code_is_explained():
    codes = {code for file in (ROOT / "service").rglob("*.py") for code in error_codes(file.read_text())}
    assert {"context_length_exceeded", "engine_unavailable", "internal_error"} <= codes
    assert [code for code in codes if f"`{code}`" not in PAGES["api"]] == []


def error_codes(source: str) -> Iterator[str]:
    """Names in snake case that the source gives to an error; fields of the request look the same."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in (
            "ApiError",
            "unreadable",
            "undoable",
        ):
            for argument in (*call.args, *(k.value for k in call.keywords if k.arg == "code")):
                if isinstance(argument, ast.Constant) and re.fullmatch(
                    r"[a-z]+(_[a-z]+)+", str(argument.value)
                ):
                    yield str(argument.value)
