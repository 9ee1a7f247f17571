import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from engines import guard

STUBBORN = "trap '' TERM; sleep 60 & wait"


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def guarded(*command: str) -> "subprocess.Popen[bytes]":
    line = [sys.executable, "-I", guard.__file__, str(os.getpid()), *command]
    return subprocess.Popen(line, start_new_session=True)


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_commands_exit_status_is_passed_on(script: str, status: int) -> None:
    assert guarded("sh", "-c", script).wait() == status


def test_what_the_command_started_ends_with_it() -> None:
    running = guarded("sh", "-c", "sleep 60 & sleep 60 & exit 0")
    assert running.wait() == 0
    assert guard.members(running.pid) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end_it_ends_everything(number: signal.Signals) -> None:
    running = guarded("sh", "-c", "sleep 60 & sleep 60")
    until(lambda: len(guard.members(running.pid)) == 4)
    running.send_signal(number)
    assert running.wait() == 128 + number
    assert guard.members(running.pid) == set()


def test_its_parents_death_ends_everything() -> None:
    start = (
        "import os, subprocess, sys, time;"
        "line = [sys.executable, '-I', sys.argv[1], str(os.getpid()), 'sleep', '60'];"
        "print(subprocess.Popen(line, start_new_session=True).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", start, guard.__file__], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        until(lambda: len(guard.members(group)) == 2)
        parent.kill()
    until(lambda: guard.members(group) == set())


def test_with_a_parent_that_is_gone_it_runs_nothing() -> None:
    line = [sys.executable, "-I", guard.__file__, "1", "sh", "-c", "echo ran"]
    done = subprocess.run(line, start_new_session=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_what_does_not_heed_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(guard.__file__))!r});"
    code += "from engines import guard; guard.GRACE = 0.05;"
    code += f"guard.guard({os.getpid()}, ['sh', '-c', {STUBBORN!r}])"
    running = subprocess.Popen([sys.executable, "-I", "-c", code], start_new_session=True)
    until(lambda: len(guard.members(running.pid)) == 3)
    running.terminate()
    assert running.wait() == 143
    assert guard.members(running.pid) == set()
