"""Traces of requests: who is whose parent, what spans tell, and what they never do."""

import asyncio
import logging
import os
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

from engines import watch
from engines.scripted import ScriptedEngine
from service.settings import Settings, SettingsError, load_settings
from service.tracing import tracing
from service.tracing.collector import traces_url
from service.tracing.tracing import Tracing
from tests.engines.faulty import answers_500, breaks_after, faulty, piece
from tests.reference import ROOT
from tests.service.live import MESSAGES, listening
from tests.service.tracing.collector import collecting
from tests.stand_ins import MODEL, until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch):
    """No OpenTelemetry variable of whoever runs the tests has a say."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def collector():
    async with collecting() as collector:
        yield collector


@asynccontextmanager
async def traced(collector, *engines, **config):
    """A client of a service that is traced; once it is left, all spans have been sent."""
    models = [{"name": MODEL, "urls": [engine.url for engine in engines]}]
    settings = Settings(otlp_endpoint=collector.url)
    async with (
        listening({"models": models} | config, settings) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield client


def chat(**body):
    return {"model": MODEL, "messages": MESSAGES, "scaling": {"budget": {"samples": 2}}} | body


async def test_a_request_its_run_and_its_calls_are_one_trace_of_the_clients(collector):
    async with faulty("15", "15", "16") as engine:
        async with traced(collector, engine) as client:
            scaling = {"strategy": "best_of_n", "budget": {"samples": 2, "tokens": 100}}
            await client.post("/v1/chat/completions", json=chat(scaling=scaling), headers=TRACEPARENT)
        carried = {path: h.get("traceparent") for path, h in zip(engine.asked, engine.headers, strict=True)}
    request = collector.one("POST /v1/chat/completions")
    run, call = collector.one("run best_of_n"), collector.one(f"text_completion {MODEL}")
    verify, tokenize = collector.one("verify self_certainty"), collector.one(f"tokenize {MODEL}")
    assert {span.trace for span in collector.spans} == {TRACE}
    assert request.parent == CALLER
    assert run.parent == tokenize.parent == request.id
    assert call.parent == verify.parent == run.id
    assert carried["/v1/completions"] == f"00-{TRACE}-{call.id}-01"
    assert carried["/tokenize"] == f"00-{TRACE}-{tokenize.id}-01"
    assert collector.services == {"aliquot"}
    assert not any(span.failed for span in collector.spans)


async def test_spans_tell_what_was_asked_and_spent(collector):
    async with faulty("15", "163") as engine:
        async with traced(collector, engine) as client:
            scaling = {"strategy": "best_of_n", "budget": {"samples": 2, "tokens": 100}}
            headers = {"X-Request-Id": "mine"}
            await client.post("/v1/chat/completions", json=chat(scaling=scaling), headers=headers)
        url = engine.url
    request, run = (
        collector.one("POST /v1/chat/completions").attributes,
        collector.one("run best_of_n").attributes,
    )
    call = collector.one(f"text_completion {MODEL}").attributes
    assert request["http.response.status_code"] == 200
    assert request["aliquot.request_id"] == "mine"
    assert (run["aliquot.budget.samples"], run["aliquot.budget.tokens"]) == (2, 100)
    assert (run["aliquot.spent.samples"], run["aliquot.spent.tokens"]) == (2, 5)
    assert run["aliquot.stopped_because"] == "completed"
    assert (call["gen_ai.usage.output_tokens"], call["aliquot.samples"]) == (5, 2)
    assert call["gen_ai.usage.input_tokens"] == len(MESSAGES[0]["content"])
    assert call["aliquot.replica"] == url
    assert call["gen_ai.request.choice.count"] == 2


async def test_no_span_holds_a_prompt_an_answer_a_key_or_a_password(collector):
    async with faulty("the secret answer") as engine:
        engine.url = engine.url.replace("http://", "http://someone:hunter2@")
        model = {"name": MODEL, "urls": [engine.url], "api_key": "sesame"}
        async with traced(collector, models=[model]) as client:
            await client.post(
                "/v1/scale?token=hidden",
                json=chat(messages=[{"role": "user", "content": "my secret question"}]),
                headers={"Authorization": "Bearer opensesame"},
            )
    assert collector.spans
    for secret in (b"secret", b"hunter2", b"someone", b"sesame", b"hidden"):
        assert secret not in collector.raw


@pytest.mark.parametrize("budget", [{"samples": 1}, {"samples": 2, "seconds": 20}])
async def test_streams_have_their_parents_too(collector, budget):
    async with faulty("15", "15") as engine, traced(collector, engine) as client:
        asked = chat(stream=True, scaling={"strategy": "majority", "budget": budget})
        response = await client.post("/v1/chat/completions", json=asked, headers=TRACEPARENT)
        assert "[DONE]" in response.text
    call, run = collector.one(f"text_completion {MODEL}"), collector.one("run majority")
    assert (call.parent, run.parent) == (run.id, collector.one("POST /v1/chat/completions").id)
    assert call.attributes["gen_ai.usage.output_tokens"] == 2 * budget["samples"]
    assert engine.headers[engine.asked.index("/v1/completions")]["traceparent"].split("-")[2] == call.id


async def test_a_call_that_is_repeated_elsewhere_has_a_span_for_each_replica(collector):
    async with faulty() as one, faulty() as other:
        one.fault = other.fault = answers_500
        async with traced(collector, one, other) as client:
            response = await client.post("/v1/chat/completions", json=chat())
            assert response.status_code == 503
    calls = collector.named(f"text_completion {MODEL}")
    assert {call.attributes["aliquot.replica"] for call in calls} == {one.url, other.url}
    assert [call.attributes["error.type"] for call in calls] == ["EngineUnavailable"] * 2
    assert all(call.failed for call in calls)
    run = collector.one("run majority")
    assert (run.attributes["aliquot.error"], run.attributes["aliquot.stopped_because"]) == (
        "engine_unavailable",
        "failed",
    )
    request = collector.one("POST /v1/chat/completions")
    assert request.failed
    assert request.attributes["http.response.status_code"] == 503


async def test_a_client_that_leaves_ends_its_spans(collector):
    async with faulty("x" * 1000, step_seconds=1) as engine, traced(collector, engine) as client:
        asking = asyncio.create_task(
            client.post("/v1/chat/completions", json=chat(scaling={"budget": {"samples": 1, "seconds": 30}}))
        )
        await until(lambda: engine.running == 1)
        asking.cancel()
        await until(lambda: engine.running == 0)
    assert collector.one(f"text_completion {MODEL}").attributes["aliquot.cancelled"]
    assert collector.one("POST /v1/chat/completions").attributes["http.response.status_code"] == 499


async def test_a_stream_that_breaks_keeps_its_tokens_in_its_span(collector):
    async with faulty() as engine:
        engine.fault = breaks_after(piece(0, "done", "stop"), piece(1, "ha"))
        async with traced(collector, engine) as client:
            asked = chat(scaling={"budget": {"samples": 2, "seconds": 20}})
            assert (await client.post("/v1/chat/completions", json=asked)).status_code == 200
    call = collector.one(f"text_completion {MODEL}")
    assert (call.attributes["gen_ai.usage.output_tokens"], call.attributes["aliquot.samples"]) == (6, 1)
    assert call.attributes["error.type"] == "EngineUnavailable"


async def test_the_looks_at_a_silent_engine_are_part_of_no_trace(collector, monkeypatch):
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.02)
    async with faulty("slow", "slow", step_seconds=0.03) as engine:
        async with traced(collector, engine) as client:
            await client.post("/v1/chat/completions", json=chat(), headers=TRACEPARENT)
        looks = [h for path, h in zip(engine.asked, engine.headers, strict=True) if path == "/health"]
    assert looks
    assert not any("traceparent" in headers for headers in looks)


@pytest.mark.parametrize("header", ["nonsense", "00-" + "0" * 32 + "-0000000000000000-01", "00-" + "g" * 50])
async def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(collector, header):
    async with faulty() as engine, traced(collector, engine) as client:
        response = await client.post("/v1/chat/completions", json=chat(), headers={"traceparent": header})
        assert response.status_code == 200
    request = collector.one("POST /v1/chat/completions")
    assert request.parent == ""
    assert int(request.trace, 16)


async def test_health_and_metrics_are_not_traced(collector):
    async with faulty() as engine, traced(collector, engine) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
    assert collector.spans == []


async def test_refused_requests_are_traced_by_route_and_not_as_failures(collector):
    async with faulty() as engine, traced(collector, engine) as client:
        await client.post("/v1/chat/completions", json={"secret": 1})
        await client.get("/v1/secret/path")
    assert {(span.name, span.attributes["http.response.status_code"]) for span in collector.spans} == {
        ("POST /v1/chat/completions", 400),
        ("GET unmatched", 404),
    }
    assert not any(span.failed for span in collector.spans)
    assert b"secret" not in collector.raw


@pytest.mark.usefixtures("quiet_sdk")
async def test_a_collector_that_is_not_there_disturbs_no_request(monkeypatch):
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.1)
    async with faulty() as engine:
        settings = Settings(otlp_endpoint="http://127.0.0.1:9")
        config = {"models": [{"name": MODEL, "urls": [engine.url]}]}
        async with listening(config, settings) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


@pytest.mark.usefixtures("quiet_sdk")
async def test_a_collector_that_hangs_does_not_hold_up_the_end(collector, monkeypatch):
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector.silent = True
    sender = Tracing(Settings(otlp_endpoint=collector.url).otlp_endpoint)
    with sender.request("GET", {}):
        pass
    async with asyncio.timeout(1):
        await sender.close()


@pytest.fixture
def quiet_sdk():
    """What the SDK logs of collectors that fail is not shown."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("given", "traces"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://traces.example/otlp/v1/traces", "https://traces.example/otlp/v1/traces"),
    ],
)
def test_traces_go_to_otlps_own_path_unless_one_is_given(given, traces):
    endpoint = load_settings(otlp_endpoint=given).otlp_endpoint
    assert endpoint is not None
    assert traces_url(endpoint) == traces


@pytest.mark.parametrize(
    "given", ["http://me:hunter2@host:4318", "grpc://host:4317", "host", "http://h/?key=hunter2"]
)
def test_an_endpoint_that_cannot_be_used_is_told_without_its_password(given):
    with pytest.raises(SettingsError, match="otlp_endpoint") as refused:
        load_settings(otlp_endpoint=given)
    assert "hunter2" not in str(refused.value)


def test_nothing_of_opentelemetry_is_loaded_where_nobody_traces():
    code = (
        "import sys, service.app, service.cli.serve; print([m for m in sys.modules if 'opentelemetry' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_an_untraced_service_carries_no_trace_along():
    async with faulty() as engine:
        config = {"models": [{"name": MODEL, "urls": [engine.url]}]}
        async with listening(config) as url, httpx.AsyncClient(base_url=url) as client:
            await client.post("/v1/chat/completions", json=chat(), headers=TRACEPARENT)
    assert not any("traceparent" in headers for headers in engine.headers)


async def test_separate_samples_are_spans_of_one_run(collector):
    async with faulty("15", "15", "15") as engine:
        model = {"name": MODEL, "urls": [engine.url], "separate_calls": True}
        async with traced(collector, models=[model]) as client:
            await client.post(
                "/v1/chat/completions", json=chat(scaling={"budget": {"samples": 3, "seconds": 20}})
            )
    run = collector.one("run majority")
    assert [call.parent for call in collector.named(f"text_completion {MODEL}")] == [run.id] * 3
    assert isinstance(engine.engine, ScriptedEngine)


async def test_a_job_is_a_trace_of_its_own(collector):
    async with faulty("15", "15") as engine, traced(collector, engine) as client:
        submitted = await client.post("/v1/jobs", json=chat(), headers=TRACEPARENT)
        assert submitted.status_code == 202
        id = submitted.json()["id"]
        await until(lambda: engine.completions == 1)
        async with asyncio.timeout(5):
            while (await client.get(f"/v1/jobs/{id}")).json()["status"] != "completed":
                await asyncio.sleep(0.01)
    job, run = collector.one("job"), collector.one("run majority")
    assert (job.parent, job.attributes["aliquot.job"], job.attributes["aliquot.attempt"]) == ("", id, 1)
    assert (run.parent, collector.one(f"text_completion {MODEL}").parent) == (job.id, run.id)
    assert collector.one("POST /v1/jobs").trace == TRACE


async def test_requests_that_the_sampler_leaves_out_are_not_sent_and_vllm_is_told_so(collector, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with faulty() as engine, traced(collector, engine) as client:
        await client.post("/v1/chat/completions", json=chat())
        left_out = engine.headers[engine.asked.index("/v1/completions")]["traceparent"]
        assert collector.spans == []
        await client.post("/v1/chat/completions", json=chat(), headers=TRACEPARENT)
    assert not int(left_out[-2:], 16) & 1
    assert {span.trace for span in collector.spans} == {TRACE}
