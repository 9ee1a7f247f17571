"""The launcher: what it runs, and what it does when that misbehaves. The real vLLM is in tests/integration."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import launch
from engines.devices import Device, detect_device
from engines.guard import members
from engines.launch import LaunchFailed, LaunchSpec, Progress, Supervisor, command, environment, free_port


def spec(device: Device = "cpu", python: Path = Path("env/bin/python"), **changes: object) -> LaunchSpec:
    fields = {
        "model_path": "some/model",
        "served_name": "tiny",
        "port": 8100,
        "python": python,
        "device": device,
    }
    return LaunchSpec(**fields | changes)  # type: ignore[arg-type]


def value(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_both_devices_listen_on_loopback_alone_and_count_cached_tokens(device: Device) -> None:
    line = command(spec(device))
    assert line[0] == str(Path("env/bin/python").absolute())
    assert value(line, "--host") == "127.0.0.1"
    assert "--enable-prompt-tokens-details" in line
    assert int(value(line, "--max-logprobs")) >= 20


def test_a_cpu_runs_eagerly_in_float32_with_its_smallest_block() -> None:
    line = command(spec("cpu"))
    assert (value(line, "--dtype"), value(line, "--block-size")) == ("float32", "32")
    assert "--enforce-eager" in line


def test_a_gpu_keeps_vllms_defaults_and_the_prefix_cache() -> None:
    line = command(spec("gpu"))
    assert "--enable-prefix-caching" in line
    assert not {"--dtype", "--block-size", "--enforce-eager"} & set(line)


def test_options_reach_the_command_line_in_the_order_that_lets_extra_ones_win() -> None:
    line = command(spec(runner="pooling", max_model_len=512, extra=("--dtype", "bfloat16")))
    assert (value(line, "--runner"), value(line, "--max-model-len")) == ("pooling", "512")
    assert line[-2:] == ["--dtype", "bfloat16"]


def test_a_local_model_needs_no_network_and_a_hub_id_may_use_it(tmp_path: Path) -> None:
    assert environment(spec(model_path=str(tmp_path)), {})["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(spec(model_path="org/model"), {})


def test_a_cpu_gets_all_cores_and_no_compiler() -> None:
    result = environment(spec(kv_cache_gib=3), {})
    assert result["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    assert result["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert result["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert result["TORCHDYNAMO_DISABLE"] == "1"
    assert 1 <= int(environment(spec(), {})["VLLM_CPU_KVCACHE_SPACE"]) <= 8
    assert "OMP_NUM_THREADS" not in environment(spec("gpu"), {})


def test_intels_openmp_is_preloaded_where_it_is_there_and_no_other_is(tmp_path: Path) -> None:
    of_env = spec(python=tmp_path / "bin/python")
    assert "LD_PRELOAD" not in environment(of_env, {})
    library = tmp_path / "lib/libiomp5.so"
    library.parent.mkdir()
    library.touch()
    assert environment(of_env, {})["LD_PRELOAD"] == str(library)
    assert environment(of_env, {"LD_PRELOAD": "x.so"})["LD_PRELOAD"] == f"{library}:x.so"
    assert environment(of_env, {"LD_PRELOAD": "libgomp.so"})["LD_PRELOAD"] == "libgomp.so"
    assert "LD_PRELOAD" not in environment(spec("gpu", tmp_path / "bin/python"), {})


NAMES = st.sampled_from(
    ["PATH", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "ALIQUOT_REDIS_URL", "PYTHONPATH", "VLLM_API_KEY"]
)


@given(base=st.dictionaries(NAMES, st.text("ab", max_size=3)))
def test_what_the_operator_set_stays_and_what_is_the_services_does_not_reach_the_engine(
    base: dict[str, str],
) -> None:
    result = environment(spec(), base)
    ours = {"ALIQUOT_REDIS_URL", "PYTHONPATH", "VLLM_API_KEY"}
    assert not ours & set(result)
    assert {name: result[name] for name in base.keys() - ours} == {
        name: base[name] for name in base.keys() - ours
    }


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


@pytest.mark.parametrize(
    ("script", "device"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", "gpu"),
        ("echo 'No devices found.'", "cpu"),
        ("exit 9", "cpu"),
        (None, "cpu"),
    ],
)
def test_the_device_is_a_gpu_only_where_one_is_listed(
    script: str | None, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        executable(tmp_path / "nvidia-smi", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect_device() == device


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


Launch = Callable[..., Supervisor]


@pytest.fixture
async def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Launch]:
    """Makes supervisors of the stand-in server, quick to notice and to try again; ends them afterwards."""
    monkeypatch.setattr(launch, "POLL", 0.02)
    monkeypatch.setattr(launch, "LONGEST_PAUSE", 0.01)
    server = Path(__file__).with_name("fake_server.py")
    python = executable(tmp_path / "python", f'exec "{sys.executable}" -I "{server}" "$@"')
    made: list[Supervisor] = []

    def make(*extra: str, port: int | None = None, **options: object) -> Supervisor:
        of = spec(python=python, port=port or free_port(), extra=extra)
        made.append(Supervisor(of, log_path=tmp_path / "logs/vllm.log", **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for supervisor in made:
        await supervisor.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def processes(supervisor: Supervisor) -> set[int]:
    assert supervisor._process is not None
    return members(supervisor._process.pid)


async def get(url: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(url):
        pass


async def test_ready_means_that_a_first_request_was_answered(launched: Launch, tmp_path: Path) -> None:
    told: list[Progress] = []
    supervisor = launched(progress=told.append)
    await supervisor.start()
    assert supervisor.state == "ready"
    assert "asked /v1/completions" in (tmp_path / "logs/vllm.log").read_text()
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == ["starting vLLM with tiny", "warming up tiny", "tiny is ready"]
    assert told[-1].detail == "Loading half a model"


async def test_stop_leaves_no_process_not_even_one_that_the_server_started(launched: Launch) -> None:
    supervisor = launched("helper")
    await supervisor.start()
    assert len(processes(supervisor)) == 3
    await supervisor.stop()
    await supervisor.stop()
    assert processes(supervisor) == set()
    assert supervisor.state == "stopped"


@pytest.mark.parametrize("how", ["die", "sick"])
async def test_a_server_that_dies_or_says_its_engine_is_dead_is_started_again(
    launched: Launch, how: str
) -> None:
    supervisor = launched()
    await supervisor.start()
    url, before = supervisor.url, processes(supervisor)
    if how == "die":
        with pytest.raises(aiohttp.ClientError):
            await get(f"{url}/die")
    else:
        await get(f"{url}/sick")
    await until(lambda: supervisor.restarts == 1 and supervisor.state == "ready")
    assert supervisor.url == url
    await get(f"{url}/health")
    assert not before & processes(supervisor)


async def test_a_restart_that_fails_is_tried_again(launched: Launch, tmp_path: Path) -> None:
    supervisor = launched()
    await supervisor.start()
    works = (tmp_path / "python").read_text()
    executable(tmp_path / "python", "exit 4")
    with pytest.raises(aiohttp.ClientError):
        await get(f"{supervisor.url}/die")
    await until(lambda: supervisor.restarts >= 2)
    assert supervisor.state == "restarting"
    (tmp_path / "python").write_text(works)
    await until(lambda: supervisor.state == "ready")


async def test_a_server_that_crashes_is_reported_with_its_last_words_and_the_mend(launched: Launch) -> None:
    supervisor = launched("crash")
    with pytest.raises(
        LaunchFailed, match=r"(?s)exit status 1.*does not fit into the memory.*CUDA out of memory"
    ):
        await supervisor.start()
    assert (supervisor.state, processes(supervisor)) == ("stopped", set())


async def test_a_server_that_never_answers_is_given_up(launched: Launch) -> None:
    supervisor = launched("hang", start_timeout=0.3)
    with pytest.raises(LaunchFailed, match="not ready after"):
        await supervisor.start()
    assert processes(supervisor) == set()


async def test_a_server_that_refuses_its_first_request_is_not_ready(launched: Launch) -> None:
    with pytest.raises(LaunchFailed, match="first answer was 400"):
        await launched("refuse").start()


async def test_a_port_in_use_is_named(launched: Launch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(LaunchFailed, match=f"Port {port} is taken"):
            await launched(port=port).start()


async def test_a_start_that_is_cancelled_leaves_no_process(launched: Launch) -> None:
    supervisor = launched("hang")
    start = asyncio.create_task(supervisor.start())
    await until(lambda: supervisor._process is not None and len(processes(supervisor)) > 0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert (supervisor.state, processes(supervisor)) == ("stopped", set())
