from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import pytest
import uvloop

from tests.verifiers.hostile import HOSTILE
from verifiers.bubblewrap import MEBIBYTE
from verifiers.sandbox import Finished, Limits, Sandbox, SandboxUnavailable
from verifiers.sandbox_filter import machines, seccomp_filter

ROOT = Path(__file__).parents[2]
LIMITS = Limits(wall_seconds=30.0, cpu_seconds=1, memory=128 * MEBIBYTE + os.getpid(), scratch_files=1_000)
"""The odd bytes tell our processes from those of other runs: the limits stand in their command lines."""


def inside(limits: Limits = LIMITS) -> list[int]:
    """The processes of sandboxes with these limits."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(limits.memory).encode() in words:
            found.append(int(entry.parent.name))
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def run(program: str, data: bytes = b"", **limits: Any) -> Finished:
    return await Sandbox(1, replace(LIMITS, **limits)).run(program, data)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[dict[str, object]]:
    """What stands outside for a hostile program to reach."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    # Paths of unix sockets are short; pytest's folders are not.
    path, abstract = f"/tmp/aliquot-{os.getpid()}.socket", f"aliquot-{os.getpid()}"
    with (
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as hidden,
    ):
        tcp.bind(("127.0.0.1", 0))
        unix.bind(path)
        hidden.bind("\0" + abstract)
        for listening in (tcp, unix, hidden):
            listening.listen()
        yield {
            "PORT": tcp.getsockname()[1],
            "SOCKET": path,
            "ABSTRACT": abstract,
            "SECRET": secret,
            "FOLDER": folder,
            "PROJECT": ROOT,
            "PID": os.getpid(),
        }
        os.unlink(path)
    assert secret.read_text() == "secret"
    assert list(folder.iterdir()) == []


ENDED = {
    "sleep forever": ("time", 137),
    "stop itself": ("time", 137),
    "busy loop": ("itself", 137),
    "deaf to signals": ("itself", 137),
    "another program in its place": ("itself", 137),
    "print without end": ("output", 137),
    "files without number": ("files", 137),
    "a crash": ("itself", 139),
    "source nested too deeply": ("itself", 1),
}


async def test_no_descriptor_comes_along_however_many_the_service_holds() -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    try:
        finished = await run(HOSTILE["descriptors left open"])
    finally:
        for fd in held:
            os.close(fd)
    assert finished == Finished(b"", "itself", 0)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_program_is_contained(name: str, outside: dict[str, object]) -> None:
    before = descriptors()
    ended, code = ENDED.get(name, (None, None))
    limits = {"wall_seconds": 1.0} if ended == "time" else {}
    finished = await run(Template(HOSTILE[name]).safe_substitute(outside), b"its own input", **limits)
    assert b"escaped" not in finished.output
    assert len(finished.output) <= LIMITS.output
    assert finished.ended == (ended or "itself")
    assert code is None or finished.code == code
    assert inside() == []
    assert descriptors() == before
    assert (await run("print('well')")).output == b"well\n"


async def test_a_program_reads_its_input_and_its_output_comes_back() -> None:
    program = (
        "import sys\nprint(sys.stdin.read().upper(), end='')\nprint('lost', file=sys.stderr)\nsys.exit(3)"
    )
    assert await run(program, b"\xc3\xa4bc") == Finished("ÄBC".encode(), "itself", 3)


async def test_a_long_program_and_a_long_input_arrive_whole() -> None:
    program = "import sys\nprint(len(sys.stdin.read()), here)"
    assert (
        await run(f"here = {'1' * 4000!r} and 5\n" + "#\n" * 500_000 + program, b"x" * 3_000_000)
    ).output == (b"3000000 5\n")


async def test_a_program_is_the_main_module_of_a_bare_python() -> None:
    program = (
        "import os, sys, __main__\n"
        "value = 7\n"
        "print(__name__, __main__.value, sys.argv, os.getcwd(), sorted(os.environ), sys.flags.no_site)\n"
        "import asyncio, ctypes, decimal, hashlib, numbers, random, sqlite3, threading, typing, zoneinfo\n"
        "try:\n    import pytest\nexcept ImportError:\n    print('alone')"
    )
    output = (await run(program)).output.decode()
    names = ["HOME", "LANG", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "PWD"]
    assert output == f"__main__ 7 [''] /tmp {names} 1\nalone\n"


async def test_the_scratch_folder_is_empty_each_time_and_writable() -> None:
    program = (
        "import os, tempfile\nprint(os.listdir('/tmp'))\ntempfile.mkstemp()\nopen('here', 'w').write('x')"
    )
    sandbox = Sandbox(2, LIMITS)
    assert [(await sandbox.run(program)).output for _ in range(2)] == [b"[]\n", b"[]\n"]


async def test_threads_work_within_their_limit() -> None:
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n    print(sum(pool.map(abs, range(100))))"
    )
    assert (await run(program, cpu_seconds=10)).output == b"4950\n"


def test_the_service_s_event_loop_runs_and_cancels_programs() -> None:
    async def both() -> None:
        assert (await run("print(1)")).output == b"1\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await run("while True: pass", cpu_seconds=60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(both())
    assert inside() == []


async def test_no_more_programs_run_at_once_than_the_size_allows() -> None:
    sandbox = Sandbox(2, LIMITS)
    runs = asyncio.gather(*(sandbox.run("import time\ntime.sleep(0.2)") for _ in range(6)))
    most = 0
    while not runs.done():
        # Of a run, the outer and the inner bubblewrap and the program carry the limits.
        programs = [pid for pid in inside() if _executable(pid).startswith("python")]
        most = max(most, len(programs))
        await asyncio.sleep(0.02)
    assert 1 <= most <= 2
    assert [finished.code for finished in await runs] == [0] * 6


def _executable(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("after", [0.0, 0.005, 0.01, 0.02, 0.1, 0.3])
async def test_cancelling_a_run_leaves_nothing(after: float) -> None:
    before = descriptors()
    running = asyncio.create_task(run("while True: pass", wall_seconds=60.0, cpu_seconds=60))
    await asyncio.sleep(after)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert inside() == []
    assert descriptors() == before


async def test_a_run_that_waits_its_turn_can_be_cancelled() -> None:
    sandbox = Sandbox(1, LIMITS)
    first = asyncio.create_task(sandbox.run("import time\ntime.sleep(0.5)\nprint(1)"))
    waiting = asyncio.create_task(sandbox.run("print(2)"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    assert (await first).output == b"1\n"
    assert (await sandbox.run("print(3)")).output == b"3\n"
    assert waiting.cancelled()


async def test_programs_die_with_the_service_even_when_it_is_killed() -> None:
    script = (
        "import asyncio\n"
        "from verifiers.sandbox import Limits, Sandbox\n"
        f"limits = Limits(wall_seconds=60, cpu_seconds=60, memory={LIMITS.memory + 10_000_000})\n"
        "print('up', flush=True)\n"
        "asyncio.run(Sandbox(1, limits).run('while True: pass'))\n"
    )
    limits = replace(LIMITS, memory=LIMITS.memory + 10_000_000)
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=PIPE, cwd=ROOT)
    assert service.stdout is not None
    assert await service.stdout.readline() == b"up\n"
    while not any(_executable(pid).startswith("python") for pid in inside(limits)):
        await asyncio.sleep(0.02)
    service.kill()
    await service.wait()
    for _ in range(250):
        if not inside(limits):
            break
        await asyncio.sleep(0.02)
    assert inside(limits) == []


ORDINARY = """
import asyncio, concurrent.futures.thread, json, os, sys
from verifiers.sandbox import Limits, Sandbox
base, executable, hostile = sys.argv[1:]
sys.base_prefix, sys.executable = base, executable
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(12345)
    os.setuid(12345)
sandbox = Sandbox(2, Limits(cpu_seconds=1, memory=1 << 27, scratch_files=1_000))
async def main():
    for program in json.loads(hostile):
        finished = await sandbox.run(program)
        print(finished.ended, finished.code, finished.output.decode())
asyncio.run(main())
"""


def python_for_others() -> tuple[str, str]:
    """A Python's prefix and executable that every user can read: the one that runs, else the system's."""
    real = os.path.realpath(sys.executable)
    folders = Path(real).parents
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in folders):
        return sys.base_prefix, real
    return "/usr", "/usr/bin/python3"


async def test_an_ordinary_user_has_the_same_sandbox() -> None:
    names = [
        "fork bomb",
        "many threads",
        "rights",
        "write where it may not",
        "mount and namespaces",
        "fill /dev/shm",
    ]
    programs = [HOSTILE[name] for name in (*names, "files without number", "busy loop")]
    programs.append("import os, sys\nprint(os.getuid(), len(os.listdir('/tmp')), sys.stdin.read())")
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORDINARY, *python_for_others(), json.dumps(programs)),
        stdout=PIPE,
        cwd=ROOT,
    )
    output, _ = await service.communicate()
    assert service.returncode == 0
    assert b"escaped" not in output
    assert b"files 137" in output
    assert b"itself 137" in output
    assert output.endswith(b"itself 0 65534 0 \n\n")


async def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SandboxUnavailable, match=r"without bubblewrap\. Install it: apt-get install bubblewrap"
    ):
        await run("print(1)")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("bwrap: No permissions to create new namespace", "Allow them: by sysctl"),
        ("bwrap: setting up uid map: Permission denied", "Allow them: by sysctl"),
        ("bwrap: Unknown option --size", "older than 0.8"),
        ("bwrap: Can't find source path /srv/lib: Permission denied", "may not enter"),
        ("", "did not start Python"),
    ],
)
async def test_where_bubblewrap_fails_nothing_runs_and_the_mend_is_named(
    said: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    before = descriptors()
    with pytest.raises(SandboxUnavailable, match=sentence) as refused:
        await run("print(1)")
    assert "/root" not in str(refused.value)
    assert descriptors() == before


async def test_on_a_machine_whose_calls_are_unknown_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(SandboxUnavailable, match="Linux alone, on x86_64 and aarch64"):
        await run("print(1)")


async def test_where_descriptors_run_out_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    before = descriptors()
    for call in ("memfd_create", "pidfd_open"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, none_left)
            with pytest.raises(SandboxUnavailable, match="too few processes, files or memory"):
                await run("print(1)")
        assert descriptors() == before
        assert inside() == []


ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine: str, number: int, argument: int = 0, *, architecture: int | None = None) -> int:
    """What the filter of `machine` answers to a call: an interpreter of its few instructions."""
    architecture = ARCHITECTURES[machine] if architecture is None else architecture
    data = {0: number, 4: architecture, 16: argument}
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    value = at = 0
    while True:
        code, then, otherwise, k = program[at]
        at += 1
        if code == 0x20:
            value = data[k]
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += then if holds else otherwise


@pytest.mark.parametrize("machine", machines())
def test_the_filter_denies_processes_and_sockets_and_lets_threads_through(machine: str) -> None:
    clone, read, sockets, ptrace = {
        "x86_64": (56, 0, (41, 53), 101),
        "aarch64": (220, 63, (198, 199), 117),
    }[machine]
    thread = 0x3D0F00
    assert verdict(machine, read) == ALLOW
    assert verdict(machine, clone, thread) == ALLOW
    assert verdict(machine, clone, 17) == EPERM
    assert verdict(machine, clone, 0x4111) == EPERM
    assert verdict(machine, 435) == ENOSYS
    assert verdict(machine, ptrace) == EPERM
    for number in sockets:
        assert verdict(machine, number, socket.AF_UNIX) == ALLOW
        for family in (0, 2, 10, 16, 17, 38, 40, 44):
            assert verdict(machine, number, family) == EPERM
    assert verdict(machine, read, architecture=0x40000003) == KILL


def test_the_other_abi_of_x86_64_is_closed() -> None:
    assert verdict("x86_64", 0x40000000 + 57) == ENOSYS


def test_the_sandbox_is_run_by_what_the_system_installs() -> None:
    assert subprocess.run(["bwrap", "--version"], capture_output=True, check=True).stdout.startswith(
        b"bubblewrap"
    )
