"""What a service costs on top of its engine: Aliquot, its_hub and two bare pass-throughs, measured alike.

`python benchmarks/overhead.py` starts one service at a time in front of the same instant stand-in engine, asks it for
16 samples a request, and prints a table for each client width and engine delay. The services take turns, for
several rounds; the tables hold the medians of the rounds. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import report
from closed_loop import Requests, WrongAnswer, drive
from contenders import (
    CHAT,
    QUESTIONED,
    SAMPLES,
    Contender,
    Place,
    SetUpFailed,
    aliquot,
    its_hub,
    pass_through,
)
from contenders import HANDED_ON as SAMPLED
from processes import Cores, Server, StartFailed, free_port, machine_cpu_seconds, running
from report import Cell, Figures

CONTENDERS: Sequence[Contender] = (
    aliquot("aliquot", "Aliquot"),
    aliquot("aliquot-16-calls", "Aliquot, 16 separate calls", separate_calls=True),
    its_hub(),
    pass_through("fastapi-httpx", "FastAPI + httpx, bare", "passthrough_fastapi_httpx"),
    pass_through("asgi-aiohttp", "ASGI + aiohttp, bare", "passthrough_asgi_aiohttp"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often to measure; `seconds` and `warm_up` are for each cell of each round."""

    widths: Sequence[int]
    delays: Sequence[float]
    seconds: float
    warm_up: float
    rounds: int
    cores: Cores


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of the service, of client and stand-in engine, and of everything else on the machine."""

    service: float
    harness: float
    others: float

    def __sub__(self, earlier: Spent) -> Spent:
        return Spent(
            self.service - earlier.service, self.harness - earlier.harness, self.others - earlier.others
        )


class Bench:
    """The stand-in engine, and what is measured in front of it."""

    def __init__(self, settings: Settings, engine: str, engine_server: Server, folder: Path) -> None:
        self.settings = settings
        self.engine = engine
        self.engine_server = engine_server
        self.folder = folder
        self.numbers = itertools.count(1)

    def limit(self, width: int) -> float:
        """Requests/s of the client straight at the stand-in: what no service can exceed here."""
        self.reset(0.0)
        requests = Requests(CHAT, QUESTIONED | {"n": SAMPLES}, self.numbers)
        port = httpx.URL(self.engine).port or 80
        measured = drive(port, width, min(1.0, self.settings.seconds), requests, SAMPLED)
        return len(measured.latencies) / measured.seconds

    def turn(self, contender: Contender) -> Iterator[tuple[Cell, Figures]]:
        """Start `contender`, measure every cell, and end it."""
        place = Place(free_port(), self.engine, self.folder)
        self.reset(0.0)
        with running(
            contender.command(place),
            f"http://127.0.0.1:{place.port}{contender.ready}",
            environment=contender.environment(place),
            cores=self.settings.cores.service,
        ) as server:
            contender.configure(place)
            for delay in self.settings.delays:
                for width in self.settings.widths:
                    cell = Cell(width, delay)
                    try:
                        yield cell, self.measure(contender, place.port, server, cell)
                    except WrongAnswer as error:
                        raise WrongAnswer(f"{cell}: {error}. {server.tail(1000)}".strip()) from error

    def measure(self, contender: Contender, port: int, server: Server, cell: Cell) -> Figures:
        requests = Requests(CHAT, dict(contender.body), self.numbers)
        self.reset(cell.delay)
        drive(port, cell.width, self.settings.warm_up, requests, contender.expected)
        self.reset(cell.delay)
        memory, before = server.resident_bytes(), self.spent(server)
        measured = drive(port, cell.width, self.settings.seconds, requests, contender.expected)
        spent, grown = self.spent(server) - before, server.resident_bytes() - memory
        calls = httpx.get(f"{self.engine}/counts").json()
        count = len(measured.latencies)
        generating = (calls.get("/v1/completions", 0) + calls.get("/v1/chat/completions", 0)) / count
        if abs(generating - contender.calls) > 0.05 * contender.calls:  # a retry now and then is no fault
            raise WrongAnswer(f"it made {generating:.3g} engine calls a request, not {contender.calls}")
        return Figures(
            requests=count,
            requests_per_second=count / measured.seconds,
            p50_ms=measured.percentile(0.50) * 1e3,
            p99_ms=measured.percentile(0.99) * 1e3,
            cpu_ms=spent.service / count * 1e3,
            generating_calls=generating,
            tokenize_calls=calls.get("/tokenize", 0) / count,
            peak_mib=server.peak_bytes() / 2**20,
            grown_mib=grown / 2**20,
            harness_share=spent.harness / measured.seconds / self.settings.cores.harness_count,
            others_share=max(0.0, spent.others) / measured.seconds / (os.cpu_count() or 1),
        )

    def spent(self, server: Server) -> Spent:
        """CPU seconds so far."""
        service, harness = server.cpu_seconds(), self.engine_server.cpu_seconds() + time.process_time()
        return Spent(service, harness, machine_cpu_seconds() - service - harness)

    def reset(self, delay: float) -> None:
        httpx.post(f"{self.engine}/reset", json={"delay": delay}).raise_for_status()


def measure_all(
    bench: Bench, contenders: Sequence[Contender], progress: Callable[[str], None]
) -> tuple[dict[str, dict[Cell, list[Figures]]], dict[str, str]]:
    """Figures by contender and cell, one for each round; and what went wrong, by contender."""
    figures: dict[str, dict[Cell, list[Figures]]] = {contender.name: {} for contender in contenders}
    failures: dict[str, str] = {}
    for contender in contenders:
        try:
            contender.install()
        except SetUpFailed as error:
            failures[contender.name] = str(error)
    for turn in range(1, bench.settings.rounds + 1):
        for contender in contenders:
            if contender.name in failures:
                continue
            try:
                for cell, found in bench.turn(contender):
                    figures[contender.name].setdefault(cell, []).append(found)
                    progress(f"round {turn}, {contender.name}, {cell}: {found}")
            except (StartFailed, SetUpFailed, WrongAnswer, httpx.HTTPError) as error:
                failures[contender.name] = str(error)
                progress(f"{contender.name} is left out from here on: {error}")
    return figures, failures


@contextmanager
def stand_in(cores: Cores) -> Iterator[tuple[str, Server]]:
    """The stand-in engine: its URL and its process."""
    port = free_port()
    script = Path(__file__).with_name("stand_in.py")
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(script), "--port", str(port)]
    with running(command, f"{url}/health", cores=cores.rest) as server:
        yield url, server


def counted(text: str) -> int:
    if not 1 <= (number := int(text)) <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000")
    return number


def seconds(text: str) -> float:
    if not 0 <= (number := float(text)) <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 3600")
    return number


def some_seconds(text: str) -> float:
    if (number := seconds(text)) == 0:
        raise argparse.ArgumentTypeError("0 s is too short to measure in")
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure what services cost on top of their engine, in front of an instant stand-in engine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    keys = [contender.key for contender in CONTENDERS]
    parser.add_argument(
        "--widths", type=counted, nargs="+", default=[1, 16], help="requests in flight at once"
    )
    parser.add_argument(
        "--delays", type=seconds, nargs="+", default=[0.0, 0.1], help="seconds the engine takes"
    )
    parser.add_argument("--seconds", type=some_seconds, default=3.0, help="measured time of a cell")
    parser.add_argument(
        "--warm-up", type=some_seconds, default=1.0, help="time before it that does not count, in seconds"
    )
    parser.add_argument("--rounds", type=counted, default=5, help="turns each service gets")
    parser.add_argument("--only", action="append", choices=keys, help="a service to measure; again for more")
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place services on any core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure and print; the exit status is 1 where a service failed or answered wrongly."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended on the way out
    cores = Cores(None, None) if arguments.no_pin else Cores.split()
    settings = Settings(
        arguments.widths, arguments.delays, arguments.seconds, arguments.warm_up, arguments.rounds, cores
    )
    chosen = [contender for contender in CONTENDERS if not arguments.only or contender.key in arguments.only]
    machine = report.machine(cores)
    with TemporaryDirectory() as folder, stand_in(cores) as (engine, engine_server):
        if cores.rest is not None:
            os.sched_setaffinity(0, cores.rest)
        bench = Bench(settings, engine, engine_server, Path(folder))
        limits = {width: bench.limit(width) for width in settings.widths}
        figures, failures = measure_all(bench, chosen, lambda line: print(line, file=sys.stderr, flush=True))
    print(report.text(machine, limits, figures, failures))
    if arguments.json:
        arguments.json.write_text(report.as_json(machine, vars(arguments), limits, figures, failures))
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
