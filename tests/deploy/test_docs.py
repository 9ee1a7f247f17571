"""docs/deployment.md says nothing that is not so, as far as that can be looked up."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from service.cli import app
from service.settings import Limits, Settings, load_settings
from tests.deploy.nginx import TEMPLATE, command, free_address, rendered

PAGE = Path("docs/deployment.md").read_text()
BLOCKS = re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL)
TICKED = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))


def block(beginning: str) -> str:
    (found,) = [text for text in BLOCKS if text.startswith(beginning)]
    return found


def test_files_that_are_named_are_there() -> None:
    named = {*re.findall(r"\b(?:deploy/[\w./-]+|docker-compose\.yml|\.env\.example)", PAGE)}
    assert len(named) > 10
    for file in named:
        assert Path(file).exists(), file


def test_variables_that_are_named_are_read_by_something() -> None:
    of_nginx = {*re.findall(r"\$\{(\w+)\}", TEMPLATE.read_text())}
    of_compose = {*re.findall(r"\$\{(\w+)", Path("docker-compose.yml").read_text())}
    of_settings = {f"ALIQUOT_{name.upper()}" for name in Settings.model_fields}
    assert {*re.findall(r"\bALIQUOT_\w+", PAGE)} <= of_nginx | of_compose | of_settings


def test_limits_that_are_named_exist_with_the_values_that_are_given() -> None:
    assert {*re.findall(r"`limits\.(\w+)`", PAGE)} <= Limits.model_fields.keys()
    for name, value in re.findall(r"`limits\.(\w+)` \((\d+)\)", PAGE):
        assert getattr(Limits(), name) == int(value)


def test_commands_that_are_named_exist() -> None:
    commands = typer.main.get_command(app)
    run = r"(?:^|service |-- |bin/)aliquot ((?:keys )?[a-z]+)\b"
    named = {words for text in (*TICKED, *BLOCKS) for words in re.findall(run, text, re.MULTILINE)}
    assert {"keys create", "keys revoke", "serve", "doctor"} <= named
    for words in named:
        found = commands
        for word in words.split():
            assert isinstance(found, typer.core.TyperGroup)
            assert word in found.commands, words
            found = found.commands[word]


def test_the_service_of_systemd_is_one_that_starts_and_has_time_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unit = block("[Service]")
    for line in re.findall(r"^Environment=(.*)", unit, re.MULTILINE):
        for name, value in (word.split("=", 1) for word in shlex.split(line)):
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.keys_required
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop) > settings.serves_on + settings.grace_seconds


def test_nginx_starts_as_the_page_fills_its_configuration_in(tmp_path: Path) -> None:
    exports, _, rest = block("export ALIQUOT_LISTEN").partition("envsubst")
    lines = subprocess.run(["sh", "-c", f"{exports}\nenv"], capture_output=True, text=True, check=True).stdout
    values = dict(line.split("=", 1) for line in lines.splitlines() if line.startswith("ALIQUOT_"))
    assert {f"${name}" for name in values} == {*rest.partition("<")[0].strip(" '").split()}
    values["ALIQUOT_LISTEN"] = free_address()
    values["ALIQUOT_STATUS"] = free_address()
    (tmp_path / "nginx.conf").write_text(rendered(TEMPLATE.read_text(), **values))
    checked = subprocess.run([*command(tmp_path), "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "-p /etc/aliquot/ -c /etc/aliquot/nginx.conf" in rest


def test_a_rolling_upgrade_of_compose_ends_old_replicas_only_after_they_have_drained() -> None:
    lines = block("docker compose build service").splitlines()
    compose = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]["service"]
    assert f"--scale service={2 * compose['deploy']['replicas']} --wait" in lines[2]
    assert "--no-recreate" in lines[2]
    (patience,) = re.findall(r"docker stop --time (\d+)", lines[3])
    assert f"{patience}s" == compose["stop_grace_period"]


def test_the_raycluster_has_the_values_that_are_explained() -> None:
    table = PAGE.partition("### Models larger than one machine")[2].partition("\n## ")[0]
    manifest = Path("deploy/kubernetes/overlays/ray/raycluster.yaml").read_text()
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for value in re.findall(r"`([^`]+)`", row):
            assert value in manifest, value
