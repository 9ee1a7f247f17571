import asyncio
import signal
import socket

import httpx
import pytest
import yaml

from engines.simulated.world import SimulatedWorld
from service.cli.simulate import configuration
from service.settings import load_world
from tests.service.cli.terminal import WIDTH, aliquot, started
from tests.service.live import listening

LAST = "Ctrl-C stops it."


async def said(process: asyncio.subprocess.Process) -> str:
    """What it says until it is ready."""
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(60):
        while not text.endswith(LAST + "\n"):
            text += (await process.stdout.readline()).decode()
    return text


def printed_configuration(text: str) -> str:
    return text[text.index("models:") : text.index("Then,")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_a_world_until_it_is_told_to_stop(tmp_path, number):
    words = ("simulate", "--port", "0", "--seed", "3", "--steps", "2-4")
    async with started(*words, cwd=tmp_path) as process:
        text = await said(process)
        url = yaml.safe_load(printed_configuration(text))["models"][0]["urls"][0]
        async with httpx.AsyncClient(base_url=url) as client:
            models = (await client.get("/v1/models")).json()["data"]
        assert "simulated" in [model["id"] for model in models]
        process.send_signal(number)
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert out.decode().endswith("Stopped.\n")
    assert err == b""


async def test_what_it_prints_makes_a_service_that_answers(tmp_path):
    async with started("simulate", "--port", "0", cwd=tmp_path) as process:
        text = await said(process)
        file = tmp_path / "world.yaml"
        file.write_text(printed_configuration(text))
        config = load_world(file).model_dump(mode="json")
        question = text[text.index('aliquot ask "') + 13 :].partition('"')[0]
        async with listening(config) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
            for strategy, verifier in (
                ("particle_filtering", "prm"),
                ("best_of_n", "orm"),
                ("best_of_n", "orm-hackable"),
                ("majority", None),
            ):
                scaling = {"strategy": strategy, "budget": {"samples": 8}, "verifier": verifier}
                body = {
                    "model": "simulated",
                    "messages": [{"role": "user", "content": question}],
                    "scaling": {key: value for key, value in scaling.items() if value},
                    "max_tokens": 1000,
                }
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                reply = answer.json()
                assert reply["choices"][0]["message"]["content"].startswith("[simulated]")
                assert reply["scaling"]["stopped_because"] == "completed"
                assert reply["scaling"]["warnings"] == []
    assert question == SimulatedWorld().question(17)
    assert f"The right answer is {SimulatedWorld().problem(17).answer}." in text


def test_the_configuration_names_every_model_it_serves(tmp_path):
    file = tmp_path / "world.yaml"
    file.write_text(configuration("http://127.0.0.1:8100"))
    world = load_world(file)
    assert [str(url) for url in world.models[0].urls] == ["http://127.0.0.1:8100/"]
    assert [verifier.kind for verifier in world.verifiers] == [
        "process_reward",
        "outcome_reward",
        "outcome_reward",
        "embedding",
    ]
    assert world.verifiers[0].separator == "\n\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--accuracy", "1.5"), "accuracy is 1.5; choose 0 to 1."),
        (("--steps", "some"), "steps is some; give a number or a range, as in 8 or 5-11."),
        (("--steps", "9-3"), "steps is 3; choose 9 to 64."),
        (("--auc", "0.2"), "auc is 0.2; choose 0.5 to 0.999."),
        (("--step-tokens", "1000"), "step_tokens is 1000; choose 14 to 128."),
    ],
)
async def test_settings_out_of_range_are_a_sentence(words, says):
    result = await aliquot("simulate", "--port", "0", *words)
    assert result.exit_code == 1
    assert says in result.stderr


async def test_a_port_in_use_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = await aliquot("simulate", "--port", str(port))
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use. Choose another" in result.stderr


async def test_help_fits_and_shows_examples():
    result = await aliquot("simulate", "--help")
    assert "aliquot simulate" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
