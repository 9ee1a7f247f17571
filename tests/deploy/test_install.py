import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import install
from deploy.progress import Failed, Phase


class Recorded(Phase):
    """A phase that notes its commands instead of running them; those with `fails` in them fail, once."""

    def __init__(self, fails: str = "nothing") -> None:
        super().__init__()
        self.commands: list[str] = []
        self._fails = fails

    def run(self, command: Sequence[str | os.PathLike[str]], log: Path) -> None:
        self.commands.append(" ".join(map(str, command)))
        if self._fails in self.commands[-1]:
            self._fails = "nothing"
            raise Failed("it failed")
        if "-m venv" in self.commands[-1]:
            Path(self.commands[-1].split()[-1]).mkdir(exist_ok=True)


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout, with nothing but the files that say what is installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").mkdir()
    for file in ("pyproject.toml", "constraints.txt"):
        (tmp_path / file).write_text(file)
    for device in ("cpu", "gpu"):
        for kind in ("", "-nodeps"):
            (tmp_path / f"deploy/engine-{device}{kind}.txt").write_text(device)
    return tmp_path


def test_a_second_run_installs_nothing() -> None:
    first, second = Recorded(), Recorded()
    assert install.install_service(first) == ""
    assert install.install_engine(first, "cpu") == ""
    assert first.commands
    assert install.install_service(second) == "already there"
    assert install.install_engine(second, "cpu") == "already there"
    assert second.commands == []


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_is_installed_again(file: str) -> None:
    install.install_service(Recorded())
    Path(file).write_text("changed")
    again = Recorded()
    assert install.install_service(again) == ""
    assert again.commands


def test_another_device_begins_its_environment_anew() -> None:
    install.install_engine(Recorded(), "cpu")
    (install.ENGINE / "left over").touch()
    install.install_engine(Recorded(), "gpu")
    assert not (install.ENGINE / "left over").exists()


def test_an_interrupted_installation_goes_on() -> None:
    with pytest.raises(Failed):
        install.install_engine(Recorded(fails="--no-deps"), "cpu")
    again = Recorded()
    assert install.install_engine(again, "cpu") == ""
    assert any("--no-deps" in command for command in again.commands)


def test_media_packages_are_removed_only_where_vllm_does_not_load() -> None:
    well, broken = Recorded(), Recorded(fails="LlamaForCausalLM")
    install.install_engine(well, "gpu")
    assert not any("uninstall" in command for command in well.commands)
    (install.ENGINE / install.STAMP).unlink()
    install.install_engine(broken, "gpu")
    assert "uninstall --yes torchvision torchaudio torchcodec" in broken.commands[-2]
    assert "LlamaForCausalLM" in broken.commands[-1]


def test_what_the_system_lacks_is_named_at_once_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(install, "_loadable", lambda _: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Failed, match=r"sudo apt-get install -y python3-venv libnuma1$"):
        install.check_machine("cpu")
    with pytest.raises(Failed, match=r"sudo apt-get install -y python3-venv$"):
        install.check_machine(None)


def test_sandbox_and_servers_are_asked_for_where_the_tests_are_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _, path: None)
    with pytest.raises(Failed, match=r"apt-get install -y bubblewrap nginx redis-server prometheus$"):
        install.check_machine(None, tests=True)
    install.check_machine(None)


def test_servers_are_found_where_debian_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shutil.which", lambda _, path: "/usr/sbin/x" if path == "/home/bin:/usr/sbin" else None
    )
    monkeypatch.setenv("PATH", "/home/bin")
    install.check_machine(None, tests=True)


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 15, 0)])
def test_a_python_that_does_not_fit_is_named(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(Failed, match=r"needs 3\.11 to 3\.14.*PYTHON="):
        install.check_machine(None)


def test_a_full_disk_is_named_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_loadable", lambda _: True)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2e9))
    with pytest.raises(Failed, match=r"2\.0 GB free.*needs 9"):
        install.check_machine("cpu")
    assert "2 GB of disk free" in install.check_machine(None)
