"""The services that are compared: how each is installed, started, asked, and told right from wrong.

All are asked the same: 16 samples of one prompt from the engine. Aliquot and its_hub vote on the number that a
response ends in, each by its own means (an answer format, a regular expression), and answer with one choice; the
pass-throughs hand the engine's 16 choices on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from closed_loop import PLACE, Expected
from stand_in import MAJORITY, MODEL, RESPONSE_TOKENS

HERE = Path(__file__).resolve().parent
SAMPLES = 16
ITS_HUB = "its-hub[iaas]==1.2.0"
ITS_HUB_HOME = HERE.parent / ".venv-bench-its-hub"
BASELINE = "its_hub 1.2.0"
ANSWER_PATTERN = r"The answer is (-?\d+)"
QUESTION = (
    f"Box {PLACE} of a warehouse holds three layers of eight jars, and twelve jars stand on the shelf beside it. "
    "Half a dozen jars are broken on the way. With two more brought in for each layer and an equal number sold, "
    "how many jars can be counted in the evening? Work it out one step at a time, then end with a sentence of the "
    "form: The answer is N."
)

CHAT = "/v1/chat/completions"


class SetUpFailed(Exception):
    """A contender could not be installed or configured; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender is to listen, where the engine listens, and a folder for its files."""

    port: int
    engine: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table: `key` on the command line, `name` in print.

    `command` gives what to run, `ready` the path that answers once it serves. `body` is the request, `expected`
    the right answer, `calls` how many engine calls a request should make. `install` runs once before anything is
    measured, `configure` after each start.
    """

    key: str
    name: str
    command: Callable[[Place], Sequence[str]]
    body: Mapping[str, Any]
    expected: Expected
    calls: int
    ready: str = "/v1/models"
    environment: Callable[[Place], Mapping[str, str]] = field(default=lambda place: {})
    install: Callable[[], None] = lambda: None
    configure: Callable[[Place], None] = field(default=lambda place: None)


QUESTIONED = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
VOTED = Expected(choices=1, text=MAJORITY, completion_tokens=SAMPLES * len(RESPONSE_TOKENS))
HANDED_ON = Expected(choices=SAMPLES, text=MAJORITY, completion_tokens=SAMPLES * len(RESPONSE_TOKENS))


def aliquot(key: str, name: str, *, separate_calls: bool = False) -> Contender:
    """Aliquot as it is shipped; `separate_calls` makes it ask its engine for each sample on its own."""

    def command(place: Place) -> Sequence[str]:
        model = {"name": MODEL, "urls": [place.engine], "separate_calls": separate_calls}
        config = place.folder / "aliquot.yaml"
        config.write_text(json.dumps({"models": [model]}))  # JSON is YAML
        listening = ["--host", "127.0.0.1", "--port", str(place.port)]
        return [str(Path(sys.executable).parent / "aliquot"), "serve", "--config", str(config), *listening]

    scaling = {
        "strategy": "majority",
        "budget": {"samples": SAMPLES},
        "answer": {"format": "number"},
    }
    calls = SAMPLES if separate_calls else 1
    return Contender(key, name, command, QUESTIONED | {"scaling": scaling}, VOTED, calls, ready="/readyz")


def install_its_hub() -> None:
    """its_hub in an environment of its own, once."""
    stamp = ITS_HUB_HOME / "installed"
    if stamp.exists() and stamp.read_text() == ITS_HUB:
        return
    print(f"Installing {ITS_HUB} into {ITS_HUB_HOME.name} …", file=sys.stderr, flush=True)
    python = ITS_HUB_HOME / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(ITS_HUB_HOME)],
        [str(python), "-m", "pip", "install", "--quiet", ITS_HUB],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetUpFailed(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-1000:]}")
    stamp.write_text(ITS_HUB)


def configure_its_hub(place: Place) -> None:
    """its_hub takes its engine and algorithm over HTTP, for the whole process."""
    configuration = {
        "provider": "openai",
        "endpoint": f"{place.engine}/v1",
        "api_key": "none",
        "model": MODEL,
        "alg": "self-consistency",
        "regex_patterns": [ANSWER_PATTERN],
        "budget": SAMPLES,
    }
    answer = httpx.post(f"http://127.0.0.1:{place.port}/configure", json=configuration, timeout=10.0)
    if answer.status_code != 200:
        raise SetUpFailed(f"POST /configure was answered {answer.status_code}: {answer.text[:500]}")


def its_hub() -> Contender:
    return Contender(
        "its-hub",
        BASELINE,
        lambda place: [str(ITS_HUB_HOME / "bin" / "its-iaas"), "--port", str(place.port)],
        QUESTIONED | {"budget": SAMPLES},
        VOTED,
        calls=SAMPLES,
        install=install_its_hub,
        configure=configure_its_hub,
    )


def pass_through(key: str, name: str, module: str) -> Contender:
    """The ASGI application `app` of a module beside this one, under uvicorn at its quickest."""
    quick = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return Contender(
        key,
        name,
        lambda place: [
            *(sys.executable, "-m", "uvicorn", f"{module}:app", "--app-dir", str(HERE)),
            *("--host", "127.0.0.1", "--port", str(place.port), *quick),
        ],
        QUESTIONED,
        HANDED_ON,
        calls=1,
        ready="/docs",
        environment=lambda place: {"ENGINE_URL": place.engine, "SAMPLES": str(SAMPLES)},
    )
