"""`aliquot keys`: tenants of a running service, their limits and their keys, with the admin key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import httpx
import typer

from service.cli.client import DEFAULT_URL, Url, check, console, credentials, errors, fail, plain, reaching
from service.tenants.tenant import NAME

MOST_UNITS: Final = ("samples", "tokens", "seconds", "eflops", "usd")

Name = Annotated[str, typer.Argument(help="The tenant's name.", metavar="TENANT")]


def _limit(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel="Limits; one that is not given does not hold")


PerSecond = Annotated[float | None, _limit("Requests per second; a second's worth may come at once.")]
AtOnce = Annotated[int | None, _limit("Requests that may run at once.")]
Tokens = Annotated[int | None, _limit("Tokens that may be generated in a day (UTC).")]
Usd = Annotated[float | None, _limit("USD that may be spent in a day (UTC).")]
Models = Annotated[list[str] | None, _limit("A model that may be asked; repeat for more.")]
Strategies = Annotated[list[str] | None, _limit("A strategy that may be run; repeat for more.")]
Most = Annotated[list[str] | None, _limit("UNIT=MOST of one request's budget, as in samples=64.")]


def create(
    tenant: Name,
    requests_per_second: PerSecond = None,
    requests_at_once: AtOnce = None,
    tokens_per_day: Tokens = None,
    usd_per_day: Usd = None,
    model: Models = None,
    strategy: Strategies = None,
    most: Most = None,
    note: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a key for a tenant, and the tenant where there is none. The key is shown once, alone on stdout."""
    asked = _asked(requests_per_second, requests_at_once, tokens_per_day, usd_per_day, model, strategy, most)
    path = f"tenants/{_part(tenant)}"
    there = _call("GET", url, path, allow=404).status_code != 404
    if there and asked:
        raise fail(f"{tenant} has limits already. Change them with `aliquot keys limits {tenant}`.")
    if not there:
        _call("PUT", url, path, asked)
    body = {"tenant": tenant} | ({"note": note} if note is not None else {})
    made = _call("POST", url, "keys", body).json()
    typer.echo(made["key"])
    told = f"A key of {made['tenant']}, of id {made['id']}, shown this once. Clients send `Authorization: Bearer KEY`."
    errors.print(plain(told), soft_wrap=True)


def limits(
    tenant: Name,
    requests_per_second: PerSecond = None,
    requests_at_once: AtOnce = None,
    tokens_per_day: Tokens = None,
    usd_per_day: Usd = None,
    model: Models = None,
    strategy: Strategies = None,
    most: Most = None,
    none: Annotated[bool, typer.Option("--none", help="Lift all limits.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a tenant these limits in place of those it has; they hold from its next request on."""
    asked = _asked(requests_per_second, requests_at_once, tokens_per_day, usd_per_day, model, strategy, most)
    if none == bool(asked):
        raise fail("Name the limits that are to hold, all of them, or --none to lift them.")
    _call("GET", url, f"tenants/{_part(tenant)}")
    _show(_call("PUT", url, f"tenants/{_part(tenant)}", asked).json(), [])


def listed(url: Url = DEFAULT_URL) -> None:
    """List tenants with their limits and the ids of their keys; no key is shown again."""
    tenants = _call("GET", url, "tenants").json()["data"]
    keys = _call("GET", url, "keys").json()["data"]
    if not tenants:
        console.print("There is no tenant yet. `aliquot keys create NAME` makes one, and a key.")
    for tenant in tenants:
        _show(tenant, [key for key in keys if key["tenant"] == tenant["name"]])


def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as `aliquot keys list` shows it.", metavar="ID")],
    url: Url = DEFAULT_URL,
) -> None:
    """Revoke a key: it opens nothing from now on."""
    _call("DELETE", url, f"keys/{_part(id)}")
    console.print(plain(f"Revoked {id}."))


def remove(tenant: Name, url: Url = DEFAULT_URL) -> None:
    """Remove a tenant and revoke all its keys."""
    gone = _call("DELETE", url, f"tenants/{_part(tenant)}").json()
    console.print(plain(f"Removed {tenant}; keys revoked: {gone['revoked']}."))


KEY_EXAMPLES: Final[Mapping[str, tuple[Callable[..., None], Sequence[str]]]] = {
    "create": (
        create,
        ["aliquot keys create maths --tokens-per-day 1000000 --most samples=64", "aliquot keys create maths"],
    ),
    "list": (listed, ["aliquot keys list --url http://10.0.0.7:8080"]),
    "limits": (limits, ["aliquot keys limits maths --usd-per-day 20 --requests-per-second 5"]),
    "revoke": (revoke, ["aliquot keys revoke 0123456789abcdef"]),
    "remove": (remove, ["aliquot keys remove maths"]),
}
"""The commands, each with examples."""


def _asked(
    requests_per_second: float | None,
    requests_at_once: int | None,
    tokens_per_day: int | None,
    usd_per_day: float | None,
    models: list[str] | None,
    strategies: list[str] | None,
    most: list[str] | None,
) -> dict[str, Any]:
    """The limits that were named, as the service takes them."""
    asked = {
        "requests_per_second": requests_per_second,
        "requests_at_once": requests_at_once,
        "tokens_per_day": tokens_per_day,
        "usd_per_day": usd_per_day,
        "models": models or None,
        "strategies": strategies or None,
        "most": dict(map(_unit, most or [])) or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _unit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = int(value) if name in ("samples", "tokens") else float(value)
        if name not in MOST_UNITS or not math.isfinite(number):
            raise ValueError
        return name, number
    except ValueError:
        raise fail(f"--most {text} should read UNIT=MOST, of {', '.join(MOST_UNITS)}.") from None


def _part(name: str) -> str:
    """A part of a path; what cannot be one is no name either."""
    if not NAME.fullmatch(name):
        raise fail(f"{name[:80]!r} is no name: 1 to 64 letters, digits, dots, underscores and hyphens.")
    return name


def _call(method: str, url: str, path: str, body: Any = None, allow: int | None = None) -> httpx.Response:
    """The answer to an admin's request, which may be the error `allow`."""
    headers = credentials(admin=True)
    if not headers:
        raise fail("Set ALIQUOT_ADMIN_KEY to the service's admin key.")
    with reaching(url):
        endpoint = f"{url.rstrip('/')}/v1/admin/{path}"
        answer = httpx.request(method, endpoint, json=body, headers=headers, timeout=10)
    if answer.status_code == 401:
        raise fail("ALIQUOT_ADMIN_KEY is not the admin key of this service.")
    if answer.status_code != allow:
        check(answer)
    return answer


def _show(tenant: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> None:
    console.print(plain(tenant["name"], "bold").append(f"  {_words(tenant)}", "dim"), soft_wrap=True)
    for key in keys:
        made = datetime.fromtimestamp(key["created"], UTC).date()
        console.print(plain(f"  {key['id']}  {made}  {key['note']}".rstrip()), soft_wrap=True)


def _words(tenant: Mapping[str, Any]) -> str:
    """A tenant's limits in words."""
    most = {unit: value for unit, value in tenant["most"].items() if value is not None}
    said = [
        (tenant["requests_per_second"], "{:g} requests per second"),
        (tenant["requests_at_once"], "{} at once"),
        (tenant["tokens_per_day"], "{:,} tokens a day"),
        (tenant["usd_per_day"], "{:g} USD a day"),
        (_names(tenant["models"]), "models {}"),
        (_names(tenant["strategies"]), "strategies {}"),
        (", ".join(f"{unit}={value:g}" for unit, value in most.items()) or None, "one request {}"),
    ]
    return "; ".join(form.format(value) for value, form in said if value is not None) or "no limits"


def _names(allowed: Sequence[str] | None) -> str | None:
    return None if allowed is None else ", ".join(allowed) or "none"
