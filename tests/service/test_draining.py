"""A replica that is told to end leaves its load balancer without losing a request."""

import asyncio
import json
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from engines.scripted import ScriptedEngine
from service.server import KEEP_ALIVE_SECONDS
from service.settings import DRAIN_SECONDS, Settings
from tests.redis_server import stored
from tests.reference import ROOT
from tests.service.cli.terminal import started
from tests.stand_ins import MODEL, StandInVllm, serving, until

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "scaling": {"budget": {"samples": 1}}}


@dataclass
class Replica:
    """An `aliquot serve`, and the engine behind it."""

    process: asyncio.subprocess.Process
    url: str
    stand_in: StandInVllm

    async def ended(self) -> tuple[int | None, str, str]:
        async with asyncio.timeout(30):
            out, err = await self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def replica(folder, *, drain: float, grace: float):
    stand_in = StandInVllm(ScriptedEngine(lambda prompt: iter(lambda: prompt, None)))
    config = folder / "world.yaml"
    shared = stored(Settings())
    env = {
        "ALIQUOT_DRAIN_SECONDS": str(drain),
        "ALIQUOT_GRACE_SECONDS": str(grace),
        "ALIQUOT_REDIS_URL": shared.redis_url.get_secret_value(),
        "ALIQUOT_REDIS_PREFIX": shared.redis_prefix,
    }
    async with serving(stand_in.app()) as engine:
        config.write_text(f"models: [{{name: {MODEL}, urls: ['{engine}']}}]")
        words = ("serve", "--config", str(config), "--port", "0")
        async with started(*words, cwd=folder, env=env) as process, asyncio.timeout(60):
            url = ""
            while not url:
                line = (await process.stdout.readline()).decode()
                assert line, "it ended before it was ready"
                url = "".join(re.findall(r"ready at (http://\S+)", line))
            yield Replica(process, url, stand_in)


def asked(text: str) -> dict:
    return BODY | {"messages": [{"role": "user", "content": text}]}


async def test_it_serves_on_then_lets_what_runs_finish_and_ends_what_does_not(tmp_path):
    async with replica(tmp_path, drain=1, grace=2) as place, httpx.AsyncClient(timeout=30) as client:
        place.stand_in.engine._step_seconds = 0.01

        def ask(text: str, **more):
            return client.post(f"{place.url}/v1/scale", json=asked(text) | more)

        finishes = asyncio.create_task(ask("x" * 150))
        endless = asyncio.create_task(ask("y" * 30_000))
        stream = asyncio.create_task(ask("z" * 30_000, stream=True))
        await until(lambda: place.stand_in.running == 3)
        place.process.send_signal(signal.SIGTERM)
        ready = await client.get(f"{place.url}/readyz")
        while ready.status_code == 200:
            ready = await client.get(f"{place.url}/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        late = await ask("15")
        assert late.status_code == 200
        assert (late.headers["connection"], ready.headers["connection"]) == ("close", "close")
        assert (await finishes).status_code == 200
        cut = await endless
        assert (cut.status_code, cut.json()["error"]["code"]) == (503, "shutting_down")
        assert cut.headers["retry-after"] == "1"
        events = [json.loads(line[6:]) for line in (await stream).text.splitlines() if "data: {" in line]
        assert events[-1]["error"]["code"] == "shutting_down"
        with pytest.raises(httpx.ConnectError):
            await ask("15")
        status, out, err = await place.ended()
    assert (status, out.splitlines()[-1]) == (0, "Stopped.")
    assert "Traceback" not in err
    assert place.stand_in.running == 0


async def test_the_second_signal_ends_it_at_once(tmp_path):
    async with replica(tmp_path, drain=3600, grace=3600) as place, httpx.AsyncClient(timeout=30) as client:
        place.stand_in.engine._step_seconds = 0.01
        asking = asyncio.create_task(client.post(f"{place.url}/v1/scale", json=asked("x" * 30_000)))
        await until(lambda: place.stand_in.running == 1)
        place.process.send_signal(signal.SIGTERM)
        while (await client.get(f"{place.url}/readyz")).status_code == 200:
            pass
        place.process.send_signal(signal.SIGTERM)
        assert (await asking).json()["error"]["code"] == "shutting_down"
        status, _, err = await place.ended()
    assert status == 0
    assert "Traceback" not in err


async def test_who_could_connect_is_answered_and_who_comes_later_is_refused(tmp_path):
    """Each request has a connection of its own, so that some arrive while the listener closes."""
    async with replica(tmp_path, drain=0.3, grace=10) as place:
        answered, broken = 0, []

        async def come_and_go():
            nonlocal answered
            while True:
                async with httpx.AsyncClient(timeout=20, verify=False) as client:
                    try:
                        response = await client.post(f"{place.url}/v1/scale", json=asked("15"))
                    except httpx.ConnectError:
                        return
                    except httpx.HTTPError as error:
                        broken.append(repr(error))
                    else:
                        answered += response.status_code == 200

        clients = [asyncio.create_task(come_and_go()) for _ in range(16)]
        await until(lambda: answered > 30)
        place.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        status, _, err = await place.ended()
    assert broken == []
    assert status == 0
    assert "Traceback" not in err


def test_nginx_closes_idle_connections_before_the_service_does_and_before_a_drain_is_over():
    (kept,) = re.findall(
        r"keepalive_timeout (\d+)s;  # below the service", (ROOT / "deploy/nginx.conf").read_text()
    )
    assert int(kept) < KEEP_ALIVE_SECONDS <= DRAIN_SECONDS


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 0),
        ({"host": "::1"}, 0),
        ({"host": "0.0.0.0"}, 5),
        ({"drain_seconds": 2}, 2),
        ({"host": "0.0.0.0", "drain_seconds": 0}, 0),
    ],
)
def test_only_where_a_load_balancer_may_be_in_front_is_it_waited_for(given, seconds):
    assert Settings(**given).serves_on == seconds
