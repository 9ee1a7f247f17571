"""Files that commands write: whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from service.cli.client import fail


def check_writable(path: Path, option: str) -> None:
    """End the command with a sentence where `write` could not write to `path`, which `option` names."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise fail(f"{option} {path} is no file. Name a file to write to.")
        if target.exists() and not os.access(target, os.W_OK):
            raise fail(
                f"{option} {path} may not be written to. Name another file, or change its permissions."
            )
        scratch = _scratch(target)
        scratch.touch(exist_ok=False)
        scratch.unlink()
    except OSError as error:
        raise fail(f"{option} {path} cannot be written: {error.strerror}. Name another file.") from error


def write(path: Path, data: bytes, option: str) -> None:
    """Write a file so that it holds either what it held before or all of `data`."""
    target = Path(os.path.realpath(path))
    scratch = _scratch(target)
    try:
        scratch.write_bytes(data)
        scratch.replace(target)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise fail(f"{option} {path} cannot be written: {error.strerror}. Name another file.") from error


def _scratch(target: Path) -> Path:
    return target.with_name(f".aliquot-{secrets.token_hex(4)}.part")
