import json

import pytest
from aiohttp import web

from engines.launch import free_port
from engines.scripted import ScriptedEngine
from tests.redis_server import shared_redis
from tests.service.cli.terminal import aliquot
from tests.service.live import listening
from tests.stand_ins import MODEL, StandInVllm, serving


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with nothing of ours."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(folder, text: str) -> str:
    file = folder / "world.yaml"
    file.write_text(text)
    return str(file)


async def test_all_well_with_a_service_and_a_configuration(here):
    async with serving(StandInVllm(ScriptedEngine(())).app()) as engine:
        models = [{"name": MODEL, "urls": [engine]}]
        config = configure(here, json.dumps({"models": models}))
        async with listening({"models": models}) as url:
            result = await aliquot("doctor", "--config", config, url=url)
        alone = await aliquot("doctor", "--config", config)
    assert result.exit_code == 0, result.output
    assert f"answers at {url}" in result.stdout
    assert "ok  its store" in result.stdout
    assert "kept in .data by a redis-server of our own" in result.stdout
    assert not (here / ".data").exists()
    assert f"{engine}/ answers" in result.stdout
    assert "vLLM" not in result.stdout
    assert alone.exit_code == 0, "no service is a fact, not a failure"
    assert "none answers at http://127.0.0.1:9" in alone.stdout


async def test_a_running_service_without_its_engine_is_a_failure(here):
    models = [{"name": MODEL, "urls": ["http://127.0.0.1:9"]}]
    async with listening({"models": models}) as url:
        result = await aliquot("doctor", url=url)
    assert result.exit_code == 1
    assert "does not answer; see the service's log" in result.stdout


async def test_a_service_that_was_told_to_end_is_a_failure(here):
    async def ready(_):
        return web.json_response({"status": "draining"}, status=503)

    app = web.Application()
    app.router.add_get("/readyz", ready)
    async with serving(app) as url:
        result = await aliquot("doctor", url=url)
    assert result.exit_code == 1
    assert f"{url} was told to end, and does" in result.stdout


async def test_an_engine_that_does_not_answer_is_a_failure(here):
    config = configure(here, "models: [{name: m, urls: ['http://127.0.0.1:9']}]")
    result = await aliquot("doctor", "--config", config)
    assert result.exit_code == 1
    assert "does not answer; start it" in result.stdout


async def test_a_store_that_does_not_answer_is_a_failure_and_its_password_is_not_shown(here, monkeypatch):
    config = configure(here, "models: [{name: m, urls: ['http://127.0.0.1:9']}]")
    monkeypatch.setenv("ALIQUOT_REDIS_URL", f"redis://someone:s3cret@127.0.0.1:{(port := free_port())}/0")
    result = await aliquot("doctor", "--config", config)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} does not answer" in " ".join(result.stdout.split())
    assert "mend ALIQUOT_REDIS_URL" in " ".join(result.stdout.split())
    assert "s3cret" not in result.stdout


async def test_a_store_that_answers_is_named(here, monkeypatch):
    monkeypatch.setenv("ALIQUOT_REDIS_URL", shared_redis())
    result = await aliquot("doctor", "--config", configure(here, "models: [{name: m, path: x}]"))
    assert f"{shared_redis().removeprefix('unix://')} answers" in "".join(result.stdout.split("\n")).replace(
        "  ", ""
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modles: []", "modles: is no setting"),
        ("models: [", "is not YAML"),
        ("defaults: {strategy: luck}", "there is no luck"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_a_failure(here, text, says):
    result = await aliquot("doctor", "--config", configure(here, text))
    assert result.exit_code == 1
    assert says in result.stdout


async def test_what_the_first_make_serve_would_bring_is_named(here):
    result = await aliquot("doctor")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert ".venv-engine/bin/python is not there; `make serve` installs it" in said
    assert "models/smollm2-135m is not there; `make serve` prepares it" in said


async def test_an_interpreter_that_does_not_run_is_told_so(here, monkeypatch):
    broken = here / "python"
    broken.write_text("no program")
    monkeypatch.setenv("ALIQUOT_ENGINE_PYTHON", str(broken))
    result = await aliquot("doctor")
    assert "does not run" in result.stdout


async def test_a_bad_environment_is_a_sentence(here, monkeypatch):
    monkeypatch.setenv("ALIQUOT_PORT", "many")
    result = await aliquot("doctor")
    assert result.exit_code == 1
    assert "ALIQUOT_* settings cannot be used" in result.stdout
