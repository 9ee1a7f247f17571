"""The address of a Redis, checked before anything connects to it."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, SecretStr

REDIS_OPTIONS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")


def _redis_url(given: SecretStr) -> SecretStr:
    """An address that redis-py takes; what is wrong with one is told without it, for its password."""
    mend = (
        "should be redis://host:6379/0, rediss:// for TLS or unix:///path of a socket, with user:password@ before the "
        f"host where needed, other characters than letters and digits as %XX; of options {', '.join(REDIS_OPTIONS)}"
    )
    try:
        url = urlsplit(given.get_secret_value())
        database = url.path.strip("/") if url.scheme != "unix" else ""
        usable = url.port != 0 and (not database or int(database) >= 0) and not url.fragment
        usable = usable and bool(url.path if url.scheme == "unix" else url.hostname)
    except ValueError:
        raise ValueError(mend) from None
    options = [name for name, _ in parse_qsl(url.query, keep_blank_values=True)]
    if not usable or url.scheme not in ("redis", "rediss", "unix") or not {*options} <= {*REDIS_OPTIONS}:
        raise ValueError(mend)
    return given


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
