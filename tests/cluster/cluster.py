"""The whole of Aliquot on one machine: nginx, three services, a Redis, two engines, each a real process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from engines.launch import free_port
from engines.simulated.engine import MODEL
from engines.simulated.pooling import OUTCOME, PROCESS
from tests.cluster.processes import Engine, HttpServer, Redis, eventually
from tests.deploy import nginx
from tests.reference import ROOT

ALIQUOT = str(Path(sys.executable).with_name("aliquot"))
ADMIN_KEY = "the-cluster's-admin-key-0123456789"


class Service(HttpServer):
    """One `aliquot serve`."""

    def __init__(self, folder: Path, name: str, config: Path, env: dict[str, str]) -> None:
        port = free_port()
        command = [ALIQUOT, "serve", "--config", str(config), "--port", str(port)]
        env = {"ALIQUOT_DATA_DIR": str(folder / name), "ALIQUOT_LOG_FOLDER": str(folder / name), **env}
        super().__init__(command, port, folder / f"{name}.log", "/readyz", env)


class Nginx(HttpServer):
    """nginx with deploy/nginx.conf in front of services."""

    def __init__(self, folder: Path, services: list[Service]) -> None:
        folder.mkdir()
        port, status = free_port(), free_port()
        upstreams = [f"127.0.0.1:{service.port}" for service in services]
        filled = nginx.variables(upstreams, listen=f"127.0.0.1:{port}", status=f"127.0.0.1:{status}")
        (folder / "nginx.conf").write_text(nginx.rendered(nginx.TEMPLATE.read_text(), **filled))
        super().__init__(nginx.command(folder), port, folder / "nginx.log", "/healthz")

    def reload(self) -> None:
        """Have new workers take over; the old ones finish what they are at."""
        self.signal(signal.SIGHUP)


class Cluster:
    """`url` is nginx's. Services, engines and the Redis keep their addresses when they are started again."""

    def __init__(
        self, folder: Path, services: int, engines: int, env: dict[str, str], config: dict[str, Any]
    ):
        self.redis = Redis(folder / "redis")
        self.engines = [Engine(folder, f"engine-{i}") for i in range(engines)]
        path = folder / "world.yaml"
        path.write_text(yaml.safe_dump(configuration(folder, self.engines, config)))
        env = {"ALIQUOT_REDIS_URL": self.redis.redis_url, "ALIQUOT_ADMIN_KEY": ADMIN_KEY, **env}
        self.services = [Service(folder, f"service-{i}", path, env) for i in range(services)]
        self.nginx = Nginx(folder / "nginx", self.services)

    @property
    def url(self) -> str:
        return self.nginx.url

    @property
    def processes(self) -> list[Redis | Engine | Service | Nginx]:
        """All of them, in the order in which they can be started."""
        return [self.redis, *self.engines, *self.services, self.nginx]

    def heal(self) -> None:
        """Start what has ended, end all faults, and wait until everything is ready."""
        for process in self.processes:
            if not process.alive:
                process.start()
        for engine in self.engines:
            engine.resume()
            engine.ready()
            engine.fault()
        for process in self.processes:
            process.resume()
            process.ready()

    def running(self) -> int:
        """Sequences that the engines are generating or about to."""
        seen = [engine.seen() for engine in self.engines if engine.alive]
        return sum(one["running"] + one["waiting"] for one in seen)

    def quiet(self, seconds: float) -> None:
        """Wait until no engine generates anything."""
        eventually(lambda: self.running() == 0, seconds)


def configuration(folder: Path, engines: list[Engine], more: dict[str, Any]) -> dict[str, Any]:
    """Both engines as replicas of one model, with prices, so that eFLOPs and USD can be capped."""
    urls = [engine.url for engine in engines]
    shape = folder / "shape"
    shape.mkdir()
    (shape / "config.json").write_text((ROOT / "tests/data/configs/qwen3-0.6b.json").read_text())
    costs = {"path": str(shape), "hardware": "l4", "usd_per_hour": 1.0}
    model = {"name": MODEL, "urls": urls, **costs, **more.pop("model", {})}
    reward = {"kind": "outcome_reward", "url": urls[0], "model": OUTCOME}
    steps = {"kind": "process_reward", "url": urls[0], "model": PROCESS, "separator": "\n\n"}
    verifiers = [{"name": "orm", **reward}, {"name": "prm", **steps}]
    return {"models": [model], "verifiers": verifiers, **more}


@contextmanager
def cluster(
    folder: Path, *, services: int = 3, engines: int = 2, env: dict[str, str] | None = None, **config: Any
) -> Generator[Cluster]:
    """A running cluster, everything ready; `config` adds to the configuration of the services."""
    found = Cluster(folder, services, engines, env or {}, config)
    with ExitStack() as stack:
        for process in found.processes:
            stack.callback(process.stop)
            process.start()
        found.heal()
        yield found
