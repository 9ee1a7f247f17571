"""The Dockerfiles: what goes in, what comes out, and who runs it."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engines.launch import LaunchSpec, command, environment
from service.routes.health import ROUTES

SERVICE = Path("deploy/Dockerfile")
ENGINE = Path("deploy/engine-cpu.Dockerfile")
RAY = Path("deploy/kubernetes/overlays/ray/Dockerfile")
PACKAGES = ("budgets", "engines", "service", "strategies", "verifiers")


def instructions(file: Path) -> list[tuple[str, str]]:
    """Name and arguments of each, lines that are continued put together."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def of(file: Path, name: str) -> list[str]:
    return [rest for one, rest in instructions(file) if one == name]


@pytest.mark.parametrize("file", [SERVICE, ENGINE, RAY], ids=str)
def test_hadolint_finds_nothing(file: Path) -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), file], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("file", [SERVICE, ENGINE], ids=str)
def test_what_is_copied_is_there_and_not_ignored(file: Path) -> None:
    lines = [line for line in Path(".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = [line[1:] for line in lines if line.startswith("!")]
    for copied in of(file, "COPY"):
        if not copied.startswith("--from="):
            for source in copied.split()[:-1]:
                assert Path(source).exists()
                assert source in let_in
    assert not any(
        fnmatch.fnmatch(secret, pattern) for secret in (".env", ".git", ".venv") for pattern in let_in
    )


@pytest.mark.parametrize("file", [SERVICE, ENGINE], ids=str)
def test_only_the_last_stage_is_shipped_with_an_ordinary_user_and_a_health_check(file: Path) -> None:
    names = [name for name, _ in instructions(file)]
    last = names[len(names) - names[::-1].index("FROM") :]
    assert names.count("FROM") == 2
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"} <= {*last}
    assert of(file, "USER") == ["10001:10001"]
    assert all(
        copied.startswith("--from=build ")
        for name, copied in instructions(file)[-len(last) :]
        if name == "COPY"
    )


def test_the_services_health_check_asks_a_route_that_there_is() -> None:
    (check,) = of(SERVICE, "HEALTHCHECK")
    path = re.search(r"http://127\.0\.0\.1:8080(/\w+)", check)
    assert path
    assert path[1] in [route.path for route in ROUTES]
    *_, code = json.loads(check.partition("CMD ")[2])
    compile(code, "health check", "exec")


def test_the_service_has_no_engine_and_the_versions_that_are_tested() -> None:
    text = SERVICE.read_text()
    installs = re.findall(r"pip install[^&\n]*", text)
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)
    assert "engine-" not in text
    assert "vllm" not in Path("constraints.txt").read_text()
    # The build backend is one of them, as in deploy/install.py.
    assert {"hatchling", "editables"} <= {*installs[0].split()}


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*wheel, tmp_path, "."], check=True)
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as held:
        names = {name for name in held.namelist() if ".dist-info/" not in name}
    files = (str(file) for package in PACKAGES for file in Path(package).rglob("*") if file.is_file())
    assert names == {file for file in files if "__pycache__" not in file}


def test_the_cpus_engine_is_started_as_aliquot_starts_its_own() -> None:
    spec = LaunchSpec("models/smollm2-135m", "smollm2-135m", 8000, Path(".venv-engine/bin/python"), "cpu")
    wanted = command(spec)[1:]
    wanted.remove("--host")
    wanted.remove("127.0.0.1")
    wanted = [word for word in wanted if word not in ("--runner", "generate")]  # the default
    (entry,), (options,) = of(ENGINE, "ENTRYPOINT"), of(ENGINE, "CMD")
    given = [*json.loads(entry), *json.loads(options)]
    assert given[0] == ".venv-engine/bin/python"
    assert sorted(given[1:]) == sorted(wanted)
    variables = dict(re.findall(r"(\w+)=(\S+)", of(ENGINE, "ENV")[0]))
    own = environment(spec, {})
    # As many threads as there are cores is OpenMP's own choice too.
    assert own.keys() - {"OMP_NUM_THREADS", "LD_PRELOAD", "HF_HUB_OFFLINE"} <= variables.keys()
    assert all(variables[name] == own[name] for name in ("VLLM_CPU_OMP_THREADS_BIND", "TORCHDYNAMO_DISABLE"))
    assert "python -m engines.bundled models/smollm2-135m .venv-engine/bin/python" in ENGINE.read_text()
