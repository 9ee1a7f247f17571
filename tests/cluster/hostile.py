"""A cluster that asks for keys, and how attackers talk to it: in bytes, with others' ids, and without end."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.asking import body
from tests.cluster.cluster import ADMIN_KEY, Cluster, cluster
from tests.cluster.processes import Server

MARKER = "plugh-xyzzy"
"""Stands in every prompt, and in whatever else no log may hold."""
MOST_MEMORY = 450e6
"""Bytes of one service, which has about 150e6 after its first request."""
BODY_SECONDS = 2.0

KNOCK = b"POST /v1/scale HTTP/1.1\r\nHost: a\r\n"


class Fort:
    """The cluster, keys of two tenants, and `hook`: where a webhook may go by name, and, for its address, may not."""

    def __init__(self, found: Cluster, hook: socket.socket, http: httpx.Client) -> None:
        self.cluster = found
        self.http = http
        self.hook = named(hook)
        self.secrets = {ADMIN_KEY}
        self._hook = hook
        self._heard: dict[Path, int] = {}
        self.mine, self.other = self.tenant("mine"), self.tenant("other")

    @property
    def folder(self) -> Path:
        return self.cluster.redis.log.parent.parent

    @property
    def entrances(self) -> dict[str, str]:
        """nginx, and a service that somebody reaches beside it."""
        return {"nginx": self.cluster.url, "service": self.cluster.services[0].url}

    def admin(self, method: str, path: str, *, at: int = 0, **sent: Any) -> httpx.Response:
        """What a service answers the operator, who is not served through nginx."""
        url = self.cluster.services[at].url + path
        return self.http.request(method, url, headers=bearer(ADMIN_KEY), **sent)

    def tenant(self, name: str, **limits: Any) -> dict[str, str]:
        """A new key of a tenant with these limits, as headers; made on one replica for all."""
        made = self.admin("PUT", f"/v1/admin/tenants/{name}", json=limits)
        assert made.status_code == 200, made.text
        made = self.admin("POST", "/v1/admin/keys", at=1, json={"tenant": name})
        assert made.status_code == 201, made.text
        key = made.json()["key"]
        self.secrets |= {key, key.split("-", 2)[2]}
        return bearer(key)

    def told(self) -> dict[Path, str]:
        """What nginx, the services, the engine and Redis have written since this was asked last."""
        logs = {path: path.read_text(errors="replace") for path in self.folder.rglob("*.log")}
        new = {path: text[self._heard.get(path, 0) :] for path, text in logs.items()}
        self._heard = {path: len(text) for path, text in logs.items()}
        return new

    def unharmed(self) -> None:
        """Everything lives, with no more memory than it needs, no log holds a secret, a prompt or a bug, and nobody was
        called who may not be."""
        self.cluster.engines[0].fault()
        assert all(process.alive for process in self.cluster.processes)
        for service in self.cluster.services:
            assert memory(service) < MOST_MEMORY
            assert self.http.get(f"{service.url}/healthz").status_code == 200
        for path, text in self.told().items():
            for secret in {MARKER, *self.secrets}:
                assert secret not in text, (path, text[max(0, text.index(secret) - 300) :][:600])
            assert "Traceback" not in text, (path, text[text.index("Traceback") :][:3000])
            assert '"event":"bug"' not in text, path
        with pytest.raises(BlockingIOError):
            self._hook.accept()


@contextmanager
def fort(folder: Path) -> Generator[Fort]:
    with socket.create_server(("127.0.0.1", 0)) as hook, httpx.Client(timeout=60) as http:
        hook.setblocking(False)
        webhooks = {"hosts": ["https://hooks.example", named(hook)], "tries": 1}
        env = {"ALIQUOT_AUTH": "required"}
        limits = {"body_seconds": BODY_SECONDS}
        with cluster(folder, services=2, engines=1, env=env, limits=limits, webhooks=webhooks) as found:
            yield Fort(found, hook, http)


def named(hook: socket.socket) -> str:
    """Its address by name."""
    return f"http://localhost:{hook.getsockname()[1]}"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def prompt(problem: int = 1, **more: Any) -> dict[str, Any]:
    """A request whose prompt holds the marker."""
    asked = body(problem) | more
    asked["messages"] = [{"role": "user", "content": f"{MARKER} Problem {problem}"}]
    return asked


def memory(server: Server) -> int:
    """Bytes of memory that a process has."""
    told = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", told)[0]) * 1024


def worked(servers: Iterable[Server]) -> float:
    """Seconds of a processor that processes have had, without those they started."""
    stats = [Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split() for server in servers]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def connected(url: str) -> socket.socket:
    at = httpx.URL(url)
    return socket.create_connection((at.host, at.port or 80), timeout=20)


def said(url: str, sent: bytes) -> bytes:
    """All that is answered to these bytes, until the other side closes or has been silent for a while."""
    heard = b""
    with connected(url) as opened:
        try:
            opened.sendall(sent)
            while piece := opened.recv(65_536):
                heard += piece
                opened.settimeout(1.0)
        except (TimeoutError, ConnectionError):
            pass
    return heard


def asked(path: bytes, headers: dict[str, str], method: bytes = b"GET") -> bytes:
    """A request for exactly this path, and nothing behind it."""
    fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    return method + b" " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields + b"\r\n"


def refused(answer: bytes, *statuses: int) -> None:
    """One answer and no other: an error in the API's shape."""
    assert answer.count(b"HTTP/1.1 ") == 1, answer[:500]
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in statuses, answer[:500]
    error = json.loads(rest)["error"]
    assert error["message"], answer[:500]
    assert error["code"], answer[:500]
    assert "Traceback" not in error["message"]


def closed(sockets: Iterable[socket.socket], seconds: float) -> None:
    """Wait until the other side has closed each of them, whatever it says before."""
    until = time.monotonic() + seconds
    for opened in sockets:
        try:
            while True:
                opened.settimeout(max(0.01, until - time.monotonic()))
                if not opened.recv(65_536):
                    break
        except ConnectionError:
            pass
