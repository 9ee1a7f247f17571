"""API keys: `ak-ID-SECRET`. The secret is told once, and only its SHA-256 is kept."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec

KEY_ID: Final = re.compile(r"[0-9a-f]{16}")
_KEY: Final = re.compile(r"ak-([0-9a-f]{16})-([A-Za-z0-9_-]{43})")
MOST_CHARACTERS: Final = 512
"""Of a bearer token that is looked at."""


class KeyRecord(msgspec.Struct, frozen=True):
    """What is kept of a key: whose it is, the hash of its secret, when it was made (seconds since 1970), and a note."""

    tenant: str
    hash: str
    created: int
    note: str = ""


def make_key() -> tuple[str, str, str]:
    """A new key: its id, the hash of its secret, and the key itself. The secret has 256 random bits."""
    id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return id, hash_secret(secret), f"ak-{id}-{secret}"


def parse_key(token: str) -> tuple[str, str] | None:
    """The id and the secret in a token that has a key's form; None for any other."""
    found = _KEY.fullmatch(token)
    return (found[1], found[2]) if found else None


def hash_secret(secret: str) -> str:
    """SHA-256 in hexadecimal: enough for a random secret, which no list of words holds."""
    return sha256(secret.encode()).hexdigest()


def same_secret(given: str, kept_hash: str) -> bool:
    """Whether `given` is the secret of that hash. How long that takes tells nothing of either."""
    return compare_digest(hash_secret(given), kept_hash)
