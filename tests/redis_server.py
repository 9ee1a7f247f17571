"""One Redis server for a session of tests, started when the first of them asks; each takes a prefix of its own."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from uuid import uuid4

from engines import guard
from service.settings import Settings
from service.store.embedded import find_server


@cache
def shared_redis() -> str:
    """The address of a server that keeps nothing on the disk; it ends with this process, however that ends."""
    folder = tempfile.TemporaryDirectory(prefix="aliquot-redis-")
    socket = Path(folder.name) / "s"
    options = (
        "--port",
        "0",
        "--unixsocket",
        socket,
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder.name,
    )
    guarded = (sys.executable, "-I", guard.__file__, str(os.getpid()), find_server(), *options)
    process = subprocess.Popen(guarded, stdout=subprocess.DEVNULL, start_new_session=True)

    @atexit.register
    def stop() -> None:
        process.terminate()
        process.wait()
        folder.cleanup()

    while not socket.exists():
        assert process.poll() is None, "the shared Redis did not start"
        time.sleep(0.005)
    return f"unix://{socket}"


def stored(settings: Settings) -> Settings:
    """The settings; where they name no store, with one in the shared server that nothing else has."""
    if {"redis_url", "data_dir"} & settings.model_fields_set:
        return settings
    shared = Settings(redis_url=shared_redis(), redis_prefix=f"test-{uuid4().hex}")
    return settings.model_copy(update={"redis_url": shared.redis_url, "redis_prefix": shared.redis_prefix})
