"""The service in what docker-compose.yml gives it: a read-only root, /tmp, no user of its own, no home."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx

from engines import guard
from engines.launch import free_port
from tests.redis_server import shared_redis

ENV = dict(re.findall(r"^(?:ENV| ) *(\w+)=(\S+)", Path("deploy/Dockerfile").read_text(), re.MULTILINE))
WORLD = Path("deploy/aliquot.yaml")


def started(port: int, folder: Path) -> subprocess.Popen[bytes]:
    world = folder / "world.yaml"
    # Nothing listens on port 9, and nobody need be asked where that is.
    world.write_text(re.sub(r"http://\w+:8000", "http://127.0.0.1:9", WORLD.read_text()))
    store = shared_redis()
    socket = str(Path(store.removeprefix("unix://")).parent)
    aliquot = Path(sys.executable).with_name("aliquot")
    root = Path.cwd()  # bound once more, since it may lie in /tmp itself
    variables = ENV | {
        "ALIQUOT_PORT": str(port),
        "ALIQUOT_HOST": "127.0.0.1",  # and keys are asked for as in the container, where it is 0.0.0.0
        "ALIQUOT_AUTH": "required",
        "ALIQUOT_CONFIG": "/tmp/aliquot.yaml",
        "ALIQUOT_REDIS_URL": store,
        "ALIQUOT_REDIS_PREFIX": f"container-{port}",
    }
    variables.pop("PATH")
    closed = shlex.split(
        f"bwrap --ro-bind / / --dev /dev --tmpfs /tmp --ro-bind {root} {root} --bind {socket} {socket} "
        f"--ro-bind {world} /tmp/aliquot.yaml "
        "--unshare-user --uid 10001 --gid 10001 --cap-drop ALL --chdir /tmp --clearenv"
    )
    for name, value in variables.items():
        closed += ["--setenv", name, value]
    guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *closed, str(aliquot), "serve"]
    with (folder / "log").open("wb") as output:
        return subprocess.Popen(guarded, stdout=output, stderr=output, start_new_session=True)


async def test_the_service_needs_no_file_that_it_could_write_but_in_tmp(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    process = started(port, tmp_path)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    alive = await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
            ready = await client.get("/readyz")
            unknown = await client.post("/v1/scale", json={})
            counted = await client.get("/metrics")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
    assert alive.status_code == 200
    assert ready.status_code == 503  # without the engines that the configuration names
    assert ready.json()["store"] is True
    assert unknown.status_code == 401
    assert counted.status_code == 200
    assert "Traceback" not in log.read_text()
