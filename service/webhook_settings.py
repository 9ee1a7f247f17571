"""Who may be told of the end of jobs and batches: the part `webhooks` of the configuration."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

_HOST = re.compile(r"(https?://)?([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _webhook_secret(given: SecretStr) -> SecretStr:
    """A secret that signs; what is wrong with one is told without it."""
    secret = given.get_secret_value()
    try:
        usable = len(b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret) >= 16
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("should have 16 characters or more; behind whsec_, as many bytes in base64")
    return given


def _webhook_host(given: str) -> str:
    """The host as an address, https:// where it does not say http://."""
    mend = "should be hooks.example, hooks.example:8443 or, without TLS, http://hooks.example: a host and no path"
    host = given.lower() if "://" in given else f"https://{given.lower()}"
    try:
        usable = _HOST.fullmatch(host) and urlsplit(host).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(mend)
    return host


class WebhooksConfig(BaseModel):
    """Webhooks go to `hosts` alone, whose names stand for public addresses, or with `private` for ones of private
    networks too. `secret` signs them; each of `tries` may take so many `seconds`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: list[Annotated[str, AfterValidator(_webhook_host)]] = []
    secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = None
    private: bool = False
    tries: Annotated[int, Field(ge=1, le=5)] = 5
    seconds: Annotated[float, Field(gt=0, le=30)] = 10.0
