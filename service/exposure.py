"""Who can reach the service, and the key that administers it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, SecretStr


def _admin_key(given: SecretStr) -> SecretStr | None:
    """A key that cannot be guessed or taken for a tenant's; what is wrong with one is told without it."""
    key = given.get_secret_value()
    if not key:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", key) or key.startswith("ak-"):
        raise ValueError(
            "should be 16 to 256 printable ASCII characters without spaces, and not begin with ak-, as tenants' keys "
            "do; `openssl rand -hex 32` prints one"
        )
    return given


AdminKey = Annotated[SecretStr, AfterValidator(_admin_key)]


def loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens on `host`."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
