"""What this machine can run an engine on. Standard library only: the installer asks before anything is installed."""

from __future__ import annotations

import subprocess
from typing import Literal

Device = Literal["cpu", "gpu"]


def detect_device() -> Device:
    """`gpu` where `nvidia-smi -L` lists one, else `cpu`. Takes milliseconds, 10 s at the most."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "cpu"
    return "gpu" if any(line.startswith("GPU ") for line in listed.stdout.splitlines()) else "cpu"
