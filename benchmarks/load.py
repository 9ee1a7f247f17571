"""What several replicas of Aliquot serve behind nginx, and what tenants, quotas and idempotency cost a request.

Everything is real but the engine, a stand-in that answers from prepared bytes: nginx with deploy/nginx.conf, `aliquot
serve`, and a Redis server that appends to a file. Prints two tables; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
from closed_loop import PLACE, Measured, Requests, drive
from contenders import CHAT, VOTED, Contender, Place, aliquot
from overhead import stand_in
from processes import Cores, free_port, running

from tests.deploy import nginx

ADMIN_KEY = "the-benchmark's-admin-key-0123456789"
ANYWHERE = Cores(None, None)
NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the second table: `limits` of the tenant that asks, None for no tenants at all; keys for each POST."""

    name: str
    limits: Mapping[str, float] | None = None
    idempotent: bool = False


QUOTAS = {"requests_per_second": 1_000_000, "requests_at_once": 100_000, "tokens_per_day": 10**15}
FEATURES = (
    Feature("neither keys nor quotas"),
    Feature("keys", limits={}),
    Feature("keys and quotas", limits=QUOTAS),
    Feature("keys, quotas and idempotency", limits=QUOTAS, idempotent=True),
)


@dataclass(slots=True)
class Redis:
    """A Redis server on a port of its own; what it counts."""

    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def counts(self) -> tuple[int, int, float]:
        """Exchanges with clients, commands, and CPU seconds so far."""
        told = subprocess.run(
            ["redis-cli", "-p", str(self.port), "INFO"], capture_output=True, text=True, check=True
        ).stdout
        info = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
        cpu = float(info["used_cpu_sys"]) + float(info["used_cpu_user"])
        return int(info["total_reads_processed"]), int(info["total_commands_processed"]), cpu


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """A server that keeps all in `folder`, as docs/deployment.md has it."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with running(["redis-server", *options, "--appendonly", "yes"], None):
        yield Redis(port)


@dataclass(slots=True)
class Bench:
    """The stand-in engine and the store, and services in front of them."""

    engine: str
    store: Redis
    folder: Path
    seconds: float
    contender: Contender = field(default_factory=lambda: aliquot("aliquot", "Aliquot"))

    @contextmanager
    def services(self, count: int, feature: Feature) -> Iterator[list[int]]:
        """The ports of so many services on one store."""
        with ExitStack() as stack:
            ports = []
            for number in range(count):
                place = Place(free_port(), self.engine, self.folder)
                environment = {
                    "ALIQUOT_REDIS_URL": self.store.url,
                    "ALIQUOT_DATA_DIR": str(self.folder / f"data-{number}"),
                    "ALIQUOT_LOG_LEVEL": "warning",
                    "ALIQUOT_ADMIN_KEY": ADMIN_KEY,
                    "ALIQUOT_AUTH": "off" if feature.limits is None else "required",
                }
                url = f"http://127.0.0.1:{place.port}{self.contender.ready}"
                command = self.contender.command(place)
                stack.enter_context(running(command, url, environment=environment))
                ports.append(place.port)
            yield ports

    def requests(self, port: int, feature: Feature) -> Requests:
        headers = {}
        if feature.limits is not None:
            headers["authorization"] = f"Bearer {key(port, feature.limits)}"
        if feature.idempotent:
            headers["idempotency-key"] = f"benchmark-{os.getpid()}-{PLACE}"
        return Requests(CHAT, dict(self.contender.body), NUMBERS, headers)

    def drive(self, port: int, width: int, requests: Requests) -> Measured:
        drive(port, width, self.seconds / 3, requests, VOTED)  # a run to warm up, which does not count
        return drive(port, width, self.seconds, requests, VOTED)

    def delay(self, seconds: float) -> None:
        httpx.post(f"{self.engine}/reset", json={"delay": seconds}).raise_for_status()


def key(port: int, limits: Mapping[str, float]) -> str:
    """A new key of a tenant with these limits."""
    url, headers = f"http://127.0.0.1:{port}/v1/admin", {"Authorization": f"Bearer {ADMIN_KEY}"}
    httpx.put(f"{url}/tenants/benchmark", json=dict(limits), headers=headers).raise_for_status()
    made = httpx.post(f"{url}/keys", json={"tenant": "benchmark"}, headers=headers)
    made.raise_for_status()
    return str(made.json()["key"])


def replicas(bench: Bench, counts: Sequence[int], widths: Sequence[int]) -> Iterator[str]:
    """The rows of the first table: what so many services behind nginx do with so many requests in flight."""
    plain = FEATURES[0]
    for count in counts:
        with bench.services(count, plain) as ports, balanced(bench.folder, ports) as front:
            requests = bench.requests(front, plain)
            for width in widths:
                took = bench.drive(front, width, requests)
                rate = len(took.latencies) / took.seconds
                p50, p99 = (took.percentile(share) * 1e3 for share in (0.5, 0.99))
                yield f"| {count} | {width} | {rate:.0f} | {p50:.1f} | {p99:.1f} |"


@contextmanager
def balanced(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """The port of an nginx in front of these."""
    with TemporaryDirectory(dir=folder) as own:
        home, front, status = Path(own), free_port(), free_port()
        upstreams = [f"127.0.0.1:{port}" for port in ports]
        filled = nginx.variables(upstreams, listen=f"127.0.0.1:{front}", status=f"127.0.0.1:{status}")
        (home / "nginx.conf").write_text(nginx.rendered(nginx.TEMPLATE.read_text(), **filled))
        with running(nginx.command(home), f"http://127.0.0.1:{front}/healthz"):
            yield front


@dataclass(slots=True)
class Cost:
    """What a service did in one round: requests/s at a width, ms of one request alone, and its exchanges with Redis."""

    rate: float
    alone: float
    exchanges: float
    commands: float
    redis_ms: float


def cost(bench: Bench, feature: Feature, width: int) -> Cost:
    with bench.services(1, feature) as (port,):
        requests = bench.requests(port, feature)
        bench.drive(port, width, requests)
        before = bench.store.counts()
        took = drive(port, width, bench.seconds, requests, VOTED)
        after = bench.store.counts()
        alone = drive(port, 1, bench.seconds, requests, VOTED)
    count = len(took.latencies)
    reads, commands, cpu = ((b - a) / count for a, b in zip(before, after, strict=True))
    return Cost(count / took.seconds, alone.percentile(0.5) * 1e3, reads, commands, cpu * 1e3)


def features(bench: Bench, rounds: int, width: int) -> Iterator[str]:
    """The rows of the second table: medians of the rounds, in which the features take turns."""
    found: dict[str, list[Cost]] = {feature.name: [] for feature in FEATURES}
    for _ in range(rounds):
        for feature in FEATURES:
            found[feature.name].append(cost(bench, feature, width))
    plain = median(one.rate for one in found[FEATURES[0].name])
    for name, costs in found.items():
        rate, alone, exchanges, commands, cpu = (
            median(getattr(one, figure) for one in costs) for figure in Cost.__slots__
        )
        yield (
            f"| {name} | {rate:.0f} | {rate / plain:.2f} | {alone:.2f} | {exchanges:.1f} | {commands:.1f} "
            f"| {cpu:.3f} |"
        )


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure replicas behind nginx, and what tenants and idempotency cost, before a stand-in engine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--replicas", type=positive, nargs="+", default=[1, 2, 3], help="services behind nginx"
    )
    parser.add_argument("--widths", type=positive, nargs="+", default=[1, 16, 64], help="requests in flight")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds that the engine takes behind nginx")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of a row")
    parser.add_argument("--rounds", type=positive, default=5, help="turns each row of the second table gets")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    asked = parse()
    with TemporaryDirectory() as folder, stand_in(ANYWHERE) as (engine, _), redis(Path(folder)) as store:
        bench = Bench(engine, store, Path(folder), asked.seconds)
        print(
            f"{os.cpu_count()} cores for everything: services, nginx, Redis, the stand-in engine, the client.\n"
        )
        print("| replicas | in flight | requests/s | p50 ms | p99 ms |\n| ---: | ---: | ---: | ---: | ---: |")
        bench.delay(asked.delay)
        for row in replicas(bench, asked.replicas, asked.widths):
            print(row, flush=True)
        print(
            "\n| one service, 16 in flight, no engine delay | requests/s | of the first | ms, alone |", end=""
        )
        print(
            " Redis exchanges | commands | Redis CPU ms |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        )
        bench.delay(0.0)
        for row in features(bench, asked.rounds, 16):
            print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
