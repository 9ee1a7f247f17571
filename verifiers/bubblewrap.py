"""How bubblewrap is called to isolate a program, and what it means when it fails."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.base import EngineUnavailable
from verifiers.sandbox_filter import machines
from verifiers.sandbox_process import NOBODY

MEBIBYTE: Final = 1 << 20

ENVIRONMENT: Final = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": "/python/lib",
    "MALLOC_ARENA_MAX": "2",
}
_BOOT: Final = (Path(__file__).parent / "sandbox_process.py").read_text()
_FORBIDDEN: Final = ("namespace", "Permission denied", "Operation not permitted")
_INSTALL: Final = "Install it: apt-get install bubblewrap."


class SandboxUnavailable(EngineUnavailable):
    """No program can be isolated on this machine. The message says how to mend that."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may take. Bytes where nothing else is said; `scratch` is memory beside `memory`."""

    wall_seconds: float = 10.0
    cpu_seconds: int = 5
    memory: int = 512 * MEBIBYTE
    scratch: int = 16 * MEBIBYTE
    scratch_files: int = 10_000
    threads: int = 32
    open_files: int = 64
    output: int = 64 * 1024


def map_users(pid: int) -> None:
    """Root inside is root outside until the program starts, and nobody from then on."""
    users = f"0 0 1\n{NOBODY} {NOBODY} 1\n"
    try:
        Path(f"/proc/{pid}/gid_map").write_text(users)
        Path(f"/proc/{pid}/uid_map").write_text(users)
    except PermissionError as error:
        raise SandboxUnavailable(
            "Programs cannot be isolated by a root that may not change users. "
            "Start the service as an ordinary user, or give it CAP_SETUID and CAP_SETGID."
        ) from error


def bubblewrap() -> str:
    """Where bubblewrap lies. Raises SandboxUnavailable."""
    if sys.platform != "linux" or platform.machine() not in machines():
        raise SandboxUnavailable(f"Programs can be isolated on Linux alone, on {' and '.join(machines())}.")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxUnavailable(f"Programs cannot be isolated without bubblewrap. {_INSTALL}")
    return bwrap


def why_not(errors: str) -> str:
    """What to do about a bubblewrap that said `errors` and started nothing."""
    if errors.startswith("bwrap: Unknown option"):
        return f"Programs cannot be isolated by a bubblewrap older than 0.8. {_INSTALL}"
    if errors.startswith("bwrap: Can't find source path"):
        return "Programs cannot be isolated by a Python in a folder that the service's user may not enter."
    if errors.startswith("bwrap:") and any(word in errors for word in _FORBIDDEN):
        return (
            "Programs cannot be isolated where user namespaces are forbidden. Allow them: by sysctl "
            "kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0, or in a "
            "container by a seccomp and AppArmor profile that lets it make namespaces."
        )
    return "Programs cannot be isolated here: bubblewrap did not start Python."


def arguments(limits: Limits, *, info: int, go: int, seccomp: int) -> Iterator[str]:
    """What to call it with: descriptors it tells its child's pid on, waits on, and reads the filter from.

    What comes after `--` is sandbox_process.py, and the limits that it sets.
    """
    yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", "sandbox")
    yield from ("--info-fd", str(info), "--seccomp", str(seccomp))
    if os.geteuid() == 0:
        yield from ("--userns-block-fd", str(go), "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from ("--block-fd", str(go), "--uid", str(NOBODY), "--gid", str(NOBODY))
    for folder in ("/dev", "/etc", "/python", "/python/bin", "/usr"):
        yield from ("--perms", "0755", "--dir", folder)
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, folder)
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
    yield from _python()
    for device in ("/dev/null", "/dev/urandom"):
        yield from ("--dev-bind", device, device)
    yield from ("--perms", "1777", "--size", str(limits.scratch), "--tmpfs", "/tmp", "--chdir", "/tmp")
    yield from ("--remount-ro", "/", "--", "/python/bin/python", "-I", "-S", "-B", "-c", _BOOT)
    yield from (str(limits.cpu_seconds), str(limits.memory), str(limits.threads), str(limits.open_files))
    yield from (str(limits.scratch), str(max(info, go, seccomp)))


def _python() -> Iterator[str]:
    """This Python without what is installed in it, under a name that says nothing of where it lies."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for library in dict.fromkeys(("lib", sys.platlibdir)):
        found = Path(sys.base_prefix) / library
        if found.is_dir():
            yield from ("--ro-bind", str(found), f"/python/{library}")
        for installed in ("site-packages", "dist-packages"):
            if (found / version / installed).is_dir():
                hidden = f"/python/{library}/{version}/{installed}"
                yield from ("--size", "4096", "--tmpfs", hidden, "--remount-ro", hidden)
    yield from ("--ro-bind", os.path.realpath(sys.executable), "/python/bin/python")
