"""Sets a machine up, phase by phase: `python3 -m deploy.install service [engine] [tests] [--then WHAT]`, from the root.

`service` creates .venv with Aliquot; `engine` also .venv-engine with the vLLM that fits the machine, and the bundled
model; `tests` looks for what the tests alone need of the system. What is there already is left alone, so a second run
takes no time. Standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.progress import Failed, Phase, Phases
from engines.bundled import complete
from engines.devices import Device, detect_device

SERVICE = Path(".venv")
ENGINE = Path(".venv-engine")
MODEL = Path("models/smollm2-135m")
LOGS = Path(".logs")
STAMP = "installed"
OLDEST, NEWEST = (3, 11), (3, 14)
DISK_GB = {"service": 1, "cpu": 8, "gpu": 20}
MEDIA = ("torchvision", "torchaudio", "torchcodec")
TESTED_WITH = {
    "bubblewrap": "bwrap",
    "nginx": "nginx",
    "redis-server": "redis-server",
    "prometheus": "promtool",
}
"""Debian's packages that tests need, and a program of each."""
LOADS = {
    "service": "import service.cli, service.app, math_verify",
    "cpu": "import vllm.entrypoints.openai.api_server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker, vllm._C",
    "gpu": "import vllm.entrypoints.openai.api_server, vllm.v1.engine.core",
}
"""What must load once all is installed."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Set this machine up for Aliquot.")
    parser.add_argument("what", nargs="+", choices=["service", "engine", "tests"])
    parser.add_argument("--then", default="", help="what comes after, shown as the last phase")
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)

    device = detect_device() if "engine" in asked.what else None
    todo: list[tuple[str, Callable[[Phase], str]]] = [
        ("checking this machine", lambda _: check_machine(device, tests="tests" in asked.what)),
        ("installing the service into .venv", install_service),
    ]
    if device is not None:
        vllm = f"installing vLLM for the {device.upper()} into {ENGINE}"
        todo += [
            (vllm, lambda phase: install_engine(phase, device)),
            (f"preparing the bundled model in {MODEL}", prepare_model),
        ]
    phases = Phases(len(todo) + bool(asked.then))
    for title, work in todo:
        phases.do(title, work)
    if asked.then:
        phases.announce(asked.then)


def check_machine(device: Device | None, *, tests: bool = False) -> str:
    """Look for what no installation of ours brings. Raises Failed with everything that is missing."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        wanted = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        raise Failed(f"This is Python {version}; Aliquot needs {wanted}. Name one: make … PYTHON=python3.12")
    missing = [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]
    if device == "cpu" and not _loadable("libnuma.so.1"):
        missing.append("libnuma1")
    if tests:
        # Debian keeps servers where not every user's PATH leads.
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        missing += [
            package for package, program in TESTED_WITH.items() if not shutil.which(program, path=path)
        ]
    if missing:
        raise Failed(f"Some of the system's packages are missing. Install them: {apt_get(*missing)}")
    needed = 0 if _installed(SERVICE, "service") else DISK_GB["service"]
    if device is not None and not _installed(ENGINE, device):
        needed += DISK_GB[device]
    free = shutil.disk_usage(".").free / 1e9
    if free < needed:
        raise Failed(
            f"The disk has {free:.1f} GB free, and the installation needs {needed}. Make room on it."
        )
    fitting = {None: "", "cpu": ", no NVIDIA GPU", "gpu": ", an NVIDIA GPU"}[device]
    return f"Python {version}, {os.cpu_count()} cores, {free:.0f} GB of disk free{fitting}"


def install_service(phase: Phase) -> str:
    """Create or update .venv with Aliquot, its tools for development, and the versions that are tested."""
    if _installed(SERVICE, "service"):
        return "already there"
    log = LOGS / "install-service.log"
    _environment(phase, SERVICE, log)
    pins = ("--constraint", "constraints.txt")
    # The build backend too is one of the versions that are tested, instead of whatever a build of its own fetches.
    _pip(phase, SERVICE, log, "hatchling", "editables", *pins)
    _pip(phase, SERVICE, log, "--no-build-isolation", "--editable", ".[dev]", *pins)
    phase.run([str(SERVICE / "bin/python"), "-c", LOADS["service"]], log)
    _stamp(SERVICE, "service")
    return ""


def install_engine(phase: Phase, device: Device) -> str:
    """Create .venv-engine with the vLLM for `device`, and see that it loads."""
    if _installed(ENGINE, device):
        return "already there"
    log = LOGS / "install-engine.log"
    if (ENGINE / STAMP).exists():
        # Another list of packages, or another device: on top of the old ones they would not fit together.
        shutil.rmtree(ENGINE)
    _environment(phase, ENGINE, log)
    _pip(phase, ENGINE, log, "--requirement", f"deploy/engine-{device}.txt")
    _pip(phase, ENGINE, log, "--no-deps", "--requirement", f"deploy/engine-{device}-nodeps.txt")
    python = str(ENGINE / "bin/python")
    loads = [python, "-P", "-c", f"from transformers import LlamaForCausalLM; {LOADS[device]}"]
    try:
        phase.run(loads, log)
    except Failed:
        # Builds of these that do not match torch's keep transformers from loading; text models need none of them.
        phase.run([python, "-m", "pip", "uninstall", "--yes", *MEDIA], log)
        phase.run(loads, log)
    _stamp(ENGINE, device)
    return ""


def prepare_model(phase: Phase) -> str:
    """Convert the bundled model, once."""
    if complete(MODEL):
        return "already there"
    phase.run(
        [sys.executable, "-m", "engines.bundled", MODEL, ENGINE / "bin/python"], LOGS / "prepare-model.log"
    )
    return ""


def apt_get(*packages: str) -> str:
    """The command that installs Debian's `packages`."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y {' '.join(packages)}"


def _environment(phase: Phase, folder: Path, log: Path) -> None:
    """A virtual environment of this Python in `folder`; one left half made, or of another Python, is made anew."""
    version = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        usable = subprocess.run(
            [folder / "bin/python", "-I", "-c", version], stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        pass
    else:
        if usable.returncode == 0:
            return
    phase.run([sys.executable, "-m", "venv", "--clear", folder], log)


def _pip(phase: Phase, folder: Path, log: Path, *arguments: str) -> None:
    # What is needed of it is compiled when it is first loaded; to compile everything would double the time.
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--no-compile", "--progress-bar=off"]
    phase.run([*pip, *arguments], log)


def _stamp(folder: Path, kind: str) -> None:
    (folder / STAMP).write_text(_wanted(kind))


def _installed(folder: Path, kind: str) -> bool:
    try:
        return (folder / STAMP).read_text() == _wanted(kind)
    except OSError:
        return False


def _wanted(kind: str) -> str:
    """Names what `kind` is made from: another Python, pyproject or list of packages gives another name."""
    lists = {"service": ["pyproject.toml", "constraints.txt"]}
    files = lists.get(kind, [f"deploy/engine-{kind}.txt", f"deploy/engine-{kind}-nodeps.txt"])
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(Path(file).read_bytes())
    return f"{kind} {digest.hexdigest()}"


def _loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"\nFailed: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped. What is finished is kept; the same command goes on from there.")
