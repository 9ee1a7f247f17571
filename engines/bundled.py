"""The bundled model, SmolLM2-135M-Instruct: prepared once, without a network, into a folder that vLLM serves.

`python -m engines.bundled FOLDER PYTHON` prepares it from the command line. Standard library only: the installer
runs this before the service is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

CONVERTER = Path(__file__).with_name("convert_bundled.py")


class PreparationFailed(Exception):
    """The bundled model could not be prepared. The message ends with what the conversion printed last."""


def complete(folder: Path) -> bool:
    """Whether `folder` holds everything vLLM needs: configuration, tokenizer, chat template and whole weights."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        size = _expected_size(folder / "model.safetensors")
        whole = size == (folder / "model.safetensors").stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return whole and "model" in tokenizer and "messages" in template and "quantization_config" not in config


def prepare(folder: Path, python: Path) -> None:
    """Convert the packaged weights into `folder` with `python`, the interpreter of vLLM's environment.

    Does nothing where `folder` is complete. It appears whole or not at all, also when this is interrupted or runs
    twice at once. Half a minute, 270 MB. Raises PreparationFailed.
    """
    if complete(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        done = subprocess.run(
            [python.absolute(), "-P", CONVERTER, unfinished],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0 or not complete(unfinished):
            said = done.stdout.decode(errors="replace")[-2000:]
            raise PreparationFailed(
                f"The bundled model could not be converted (status {done.returncode}).\n{said}"
            )
        unfinished.chmod(0o755)
        if folder.exists() and not complete(folder):
            shutil.rmtree(folder)
        if not folder.exists():
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _expected_size(weights: Path) -> int:
    """The size in bytes that a safetensors file's header asks for."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, 2**26)))
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends)


if __name__ == "__main__":
    # Told to end, it still removes what is unfinished.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        prepare(Path(sys.argv[1]), Path(sys.argv[2]))
    except PreparationFailed as error:
        sys.exit(str(error))
