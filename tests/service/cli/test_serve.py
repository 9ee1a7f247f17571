import asyncio
import re
import shlex
import signal
import socket
from pathlib import Path

import httpx
import pytest

from engines.scripted import ScriptedEngine
from tests.service.cli.terminal import aliquot, started
from tests.stand_ins import MODEL, StandInVllm, serving, until


async def ended(*words: str, cwd: Path) -> tuple[int | None, str]:
    async with started("serve", *words, cwd=cwd) as process:
        _, err = await process.communicate()
    return process.returncode, err.decode()


def workers_of(process: int) -> list[str]:
    """Command lines of the worker processes that were started by `process`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "verifiers.worker_process" in line and str(process) in line:
            found.append(" ".join(line))
    return found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modles: []", "modles: is no setting; take it out"),
        ("a: [", "is not YAML"),
        ("defaults: {strategy: luck}", "there is no luck"),
    ],
)
async def test_a_bad_configuration_is_a_sentence(tmp_path, text, says):
    config = tmp_path / "world.yaml"
    config.write_text(f"models: [{{name: m, urls: ['http://127.0.0.1:9']}}]\n{text}")
    status, err = await ended("--config", str(config), "--port", "0", cwd=tmp_path)
    assert status == 1
    assert err.startswith("Aliquot did not start.")
    assert says in err
    assert "Traceback" not in err


async def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    status, err = await ended("--config", "gone.yaml", cwd=tmp_path)
    assert status == 1
    assert "gone.yaml cannot be read: No such file or directory" in err


async def test_without_the_bundled_model_the_mend_is_told(tmp_path):
    status, err = await ended("--port", "0", cwd=tmp_path)
    assert status == 1
    assert "models/smollm2-135m is not there yet. `make serve` prepares it." in err


async def test_a_port_in_use_is_told_before_anything_slow(tmp_path):
    config = tmp_path / "world.yaml"
    config.write_text("models: [{name: m, urls: ['http://127.0.0.1:9']}]")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, err = await ended("--config", str(config), "--port", str(port), cwd=tmp_path)
    assert status == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use. Choose another" in err


async def test_a_port_that_is_none_is_refused(tmp_path):
    result = await aliquot("serve", "--port", "99999")
    assert result.exit_code == 1
    assert "port: Input should be less than or equal to 65535" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_a_curl_answers_it_and_leaves_nothing_behind(tmp_path, number):
    stand_in = StandInVllm(ScriptedEngine(["8"] * 12))
    config = tmp_path / "world.yaml"
    async with serving(stand_in.app()) as engine:
        config.write_text(f"models: [{{name: {MODEL}, urls: ['{engine}']}}]")
        async with started("serve", "--config", str(config), "--port", "0", cwd=tmp_path) as process:
            said = await said_until(process, "Ctrl-C stops it.")
            assert workers_of(process.pid)
            reply = await run_curl(next(line for line in said if line.startswith("curl")))
            assert reply["choices"][0]["message"]["content"] == "8"
            assert reply["scaling"]["answers"][0]["votes"] == 12
            process.send_signal(number)
            out, err = await process.communicate()
    assert process.returncode == 0, err
    assert out.decode().split("\n")[-2] == "Stopped."
    assert b"Traceback" not in err
    await until(lambda: not workers_of(process.pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_start_can_be_broken_off(tmp_path, number):
    config = tmp_path / "world.yaml"
    config.write_text("models: [{name: m, urls: ['http://127.0.0.1:9']}]")
    async with started("serve", "--config", str(config), "--port", "0", cwd=tmp_path) as process:
        async with asyncio.timeout(30):
            while not workers_of(process.pid):
                await asyncio.sleep(0.01)
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, out.decode().split("\n")[-2]) == (0, "Stopped."), err
    assert b"Traceback" not in err
    await until(lambda: not workers_of(process.pid))


async def test_a_request_under_way_is_answered_before_the_service_stops(tmp_path):
    stand_in = StandInVllm(ScriptedEngine(["x" * 100], step_seconds=0.01))
    config = tmp_path / "world.yaml"
    async with serving(stand_in.app()) as engine:
        config.write_text(
            f"models: [{{name: {MODEL}, urls: ['{engine}']}}]\ndefaults: {{budget: {{samples: 1}}}}"
        )
        async with started("serve", "--config", str(config), "--port", "0", cwd=tmp_path) as process:
            said = await said_until(process, "Ctrl-C stops it.")
            url = next(re.findall(r"http://127\.0\.0\.1:\d+", line)[0] for line in said if "http" in line)
            body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
            async with httpx.AsyncClient(timeout=20) as client:
                asking = asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body))
                await until(lambda: stand_in.running == 1)
                process.send_signal(signal.SIGTERM)
                assert (await asking).status_code == 200
            await process.communicate()
    assert process.returncode == 0


async def said_until(process: asyncio.subprocess.Process, last: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    async with asyncio.timeout(60):
        while not lines or lines[-1] != last:
            lines.append((await process.stdout.readline()).decode().rstrip("\n"))
    return lines


async def run_curl(command: str) -> dict:
    """What a command line of curl would answer, for the options that ours has."""
    words = shlex.split(command)
    assert words[:2] == ["curl", "-s"]
    assert (words[3], words[5]) == ("-H", "-d")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/chat/completions", words[2])
    name, _, value = words[4].partition(": ")
    async with httpx.AsyncClient(timeout=20) as client:
        return (await client.post(words[2], headers={name: value}, content=words[6])).json()
