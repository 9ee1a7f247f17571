import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.progress import Failed, Phase, Phases
from engines.guard import members

ROOT = Path(__file__).parent.parent.parent


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_a_command_prints_goes_to_the_log_and_not_to_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Phase().run(sh("echo out; echo err >&2"), Path("logs/one.log"))
    assert Path("logs/one.log").read_text() == "out\nerr\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Temporary failure in name resolution", "registry did not answer"),
        ("ERROR: No matching distribution found for x", "pip found no package"),
        (
            "The virtual environment was not created because ensurepip is not available",
            "apt-get install python3-venv",
        ),
        ("ImportError: libnuma.so.1: cannot open shared object file", "apt-get install libnuma1"),
        ("something new", "Mend what the log says"),
    ],
)
def test_a_command_that_fails_is_named_with_the_mend_and_its_last_lines(said: str, mend: str) -> None:
    Path("log").write_text("No space left on device, an earlier run said\n")
    with pytest.raises(Failed) as caught:
        Phase().run(sh(f'echo "{said}"; exit 3'), Path("log"))
    message = str(caught.value)
    assert "status 3" in message
    assert mend in message
    assert said in message
    assert "an earlier run" not in message


def test_phases_are_numbered_and_say_how_they_ended(capsys: pytest.CaptureFixture[str]) -> None:
    phases = Phases(3)
    phases.do("first", lambda _: "already there")
    phases.do("second", lambda _: "")
    phases.announce("third")
    assert (
        capsys.readouterr().out == "[1/3] first\n      already there\n[2/3] second\n      done\n[3/3] third\n"
    )


SLOW = """
from pathlib import Path
from deploy.progress import Phase
Phase().run(["sh", "-c", "echo $$ > pid; echo halfway; sleep 60 & sleep 60"], Path("log"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_leaves_no_process(number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-c", SLOW], env=environment, stderr=subprocess.DEVNULL)
    group = os.getpgid(int(wait_for("pid")))
    assert len(members(group)) >= 2
    running.send_signal(number)
    running.wait()
    while members(group):
        time.sleep(0.01)


def test_a_terminal_shows_a_live_line_that_is_gone_afterwards() -> None:
    leader, follower = pty.openpty()
    script = SLOW.replace("echo $$ > pid; echo halfway; sleep 60 & sleep 60", "echo halfway; sleep 0.5")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, stdout=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert "MB written · halfway" in shown
    assert shown.endswith("\r\033[K")


def wait_for(file: str) -> str:
    while not (Path(file).exists() and Path(file).read_text().strip()):
        time.sleep(0.01)
    return Path(file).read_text()
