"""A real nginx with deploy/nginx.conf, filled in as the official image does it, which ends with the test."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engines import guard

TEMPLATE = Path("deploy/nginx.conf")


@dataclass(frozen=True, slots=True)
class Nginx:
    """One that is running: `url` for clients, `status` for the exporter, its files in `folder`."""

    url: str
    status: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it wrote: a line of JSON for each request, and errors."""
        return (self.folder / "nginx.log").read_text()

    @property
    def workers(self) -> set[int]:
        """The processes that take requests, and old ones that have some left."""
        master = int((self.folder / "nginx.pid").read_text())
        return {*map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())}

    def reload(self) -> None:
        """Have new workers take over; the old ones finish what they are at."""
        os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGHUP)


def rendered(template: str, **variables: str) -> str:
    """The template with each ${NAME} put in, as `envsubst` does; a name that is not given is a KeyError."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda found: variables[found[1]], template)


def variables(upstreams: Iterable[str], *, listen: str, status: str) -> dict[str, str]:
    """What deploy/nginx.conf is filled in with, for replicas at `HOST:PORT` each."""
    return {
        "ALIQUOT_LISTEN": listen,
        "ALIQUOT_STATUS": status,
        "ALIQUOT_UPSTREAMS": " ".join(f"server {one} max_fails=1 fail_timeout=2s;" for one in upstreams),
        "ALIQUOT_RESOLVER": "127.0.0.1",
    }


def find_nginx() -> str:
    """Where nginx is. Debian has it in a folder that not every user searches."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "these tests need nginx: apt-get install nginx-light"
    return found


def command(folder: Path) -> list[str]:
    """The command line of an nginx whose nginx.conf and other files are in `folder`."""
    # Root's workers would be another user, who may not enter a test's folder.
    main = "daemon off;" + (" user root root;" if os.geteuid() == 0 else "")
    return [find_nginx(), "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-g", main, "-e", "stderr"]


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def nginx(folder: Path, upstreams: Iterable[str], template: str | None = None) -> AsyncGenerator[Nginx]:
    """nginx in front of replicas at `HOST:PORT` each, from deploy/nginx.conf; it listens once this is entered.

    `folder` must exist; it gets nginx.conf, nginx.log and what nginx writes.
    """
    running = _start(folder, upstreams, template)
    try:
        while not _listens(running.url.removeprefix("http://")):
            assert running.process.poll() is None, running.log
            await asyncio.sleep(0.01)
        yield running
    finally:
        running.process.terminate()
        await asyncio.to_thread(running.process.wait)


def _start(folder: Path, upstreams: Iterable[str], template: str | None) -> Nginx:
    listen, status = free_address(), free_address()
    (folder / "nginx.conf").write_text(
        rendered(template or TEMPLATE.read_text(), **variables(upstreams, listen=listen, status=status))
    )
    guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *command(folder)]
    with (folder / "nginx.log").open("ab") as log:
        process = subprocess.Popen(guarded, stdout=log, stderr=log, start_new_session=True)
    return Nginx(f"http://{listen}", f"http://{status}", folder, process)


def _listens(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
