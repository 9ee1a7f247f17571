"""Which addresses webhooks may go to: hosts that the operator lists, and nothing behind them that could be the
operator's own network."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.errors import undoable, unreadable
from service.webhook_settings import WebhooksConfig

LOOKUPS: Final = 4
"""Threads that resolve names, apart from those that others need: a name server may be slow."""

_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]{1,2000}")
_INSIDE = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "100.64.0.0/10",
        "fc00::/7",
        "::1/128",
    )
)
"""What `webhooks.private` opens."""
_NEVER = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)
"""Link-local addresses, and those where clouds keep their machines' credentials."""
_TRANSLATED = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


class AddressRefused(OSError):
    """A host's name stands for an address that the service does not call."""


def check_webhook(config: WebhooksConfig, url: str) -> URL:
    """The address of a webhook that a client asks for. Raises ApiError where it is none, or its host is not listed."""
    try:
        parsed = URL(url) if _TEXT.fullmatch(url) else None
        named = _named(parsed) if parsed else None
    except ValueError:
        parsed = named = None
    if parsed is None or named is None or parsed.raw_user is not None or parsed.raw_password is not None:
        message = "webhook must be the address of a host, such as https://hooks.example/done, without a user or a #."
        raise unreadable(message, "webhook", "invalid_webhook")
    if named not in set(map(_named, map(URL, config.hosts))):
        message = "webhook names a host that this service may not call. Ask its operator to list it in webhooks.hosts."
        raise undoable("webhook_not_allowed", message, "webhook")
    return parsed


def may_call(address: str, *, private: bool) -> bool:
    """Whether a listed name may stand for this address; `private` opens private networks and this machine."""
    ips = list(_meanings(ip_address(address)))
    if any(ip in network for ip in ips for network in _NEVER):
        return False
    inside = any(ip in network for ip in ips for network in _INSIDE)
    return private if inside else all(ip.is_global and not ip.is_multicast for ip in ips)


class CheckedResolver(AbstractResolver):
    """Looks a name up once, and hands out its addresses where all of them may be called."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._threads = ThreadPoolExecutor(LOOKUPS, "webhook-lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        for _, _, _, _, address in found:
            if not may_call(str(address[0]), private=self._private):
                raise AddressRefused(f"{host} has an address that is not called")
        return [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": port,
                "family": kind,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST,
            }
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[Any]:
    return list(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))


def _named(url: URL) -> tuple[str, str, int] | None:
    """Scheme, host and port: what a listed host and a webhook must have in common."""
    if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
        return None
    return url.scheme, url.raw_host.lower(), url.port


def _meanings(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, or the IPv4 address that it stands for: where packets to it may end."""
    if isinstance(ip, IPv4Address):
        yield ip
        return
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and (ip in _TRANSLATED or (ip in _COMPATIBLE and int(ip) > 1)):
        inner = IPv4Address(int(ip) & 0xFFFFFFFF)
    yield inner or ip
