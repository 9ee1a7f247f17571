import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.settings import Settings, SettingsError
from service.store import embedded
from service.store.client import Store
from tests.reference import ROOT

HOLDER = """
import asyncio, sys
from pathlib import Path
from service.settings import Settings
from service.store.client import Store

async def main():
    store = Store(Settings(data_dir=Path(sys.argv[1]), log_folder=Path(sys.argv[1])))
    await store.start()
    async with store.exchange() as redis:
        await redis.set("kept", "yes")
        print((await redis.info("server"))["process_id"], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def store_in(folder: Path):
    store = Store(Settings(data_dir=folder, log_folder=folder))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def server_of(store: Store) -> int:
    async with store.exchange() as redis:
        return int((await redis.info("server"))["process_id"])


def runs(process: int) -> bool:
    try:
        return "redis-server" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


async def test_a_later_start_has_what_was_kept_and_a_stop_leaves_no_process(tmp_path):
    async with store_in(tmp_path) as store, store.exchange() as redis:
        await redis.set("kept", "yes")
        process = await server_of(store)
    assert not runs(process)
    async with store_in(tmp_path) as store, store.exchange() as redis:
        assert await redis.get("kept") == b"yes"


async def test_a_killed_server_is_back_with_all_that_it_had_acknowledged(tmp_path):
    async with store_in(tmp_path) as store:
        with capture_logs() as logs:
            for n in range(20):
                async with store.exchange() as redis:
                    await redis.set(f"kept{n}", "yes")
            os.kill(await server_of(store), signal.SIGKILL)
            while not any(line["event"] == "store_restarted" for line in logs):
                await asyncio.sleep(0.01)
        async with store.exchange() as redis:
            assert await redis.mget([f"kept{n}" for n in range(20)]) == [b"yes"] * 20


async def test_a_killed_service_takes_its_server_along_and_the_next_takes_the_folder_over(tmp_path):
    command = (sys.executable, "-c", HOLDER, str(tmp_path))
    holder = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    server = int(await holder.stdout.readline())
    assert runs(server)
    holder.kill()
    await holder.wait()
    async with store_in(tmp_path) as store, store.exchange() as redis:
        assert not runs(server)
        assert await redis.get("kept") == b"yes"


async def test_two_services_do_not_share_a_folder_by_accident(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0.05)
    async with store_in(tmp_path):
        with pytest.raises(SettingsError) as refused:
            async with store_in(tmp_path):
                pass
    message = str(refused.value)
    assert f"{tmp_path} holds the store of another Aliquot (process {os.getpid()})" in message
    assert "ALIQUOT_DATA_DIR" in message
    assert "ALIQUOT_REDIS_URL" in message


async def test_a_folder_may_lie_deeper_than_a_sockets_path_may_be_long(tmp_path):
    async with store_in(tmp_path / ("deep" * 40) / "store") as store:
        assert await store.answers()


async def test_no_other_user_gets_in_and_no_port_is_open(tmp_path):
    folder = tmp_path / "store"
    async with store_in(folder) as store, store.exchange() as redis:
        assert (folder.stat().st_mode & 0o777, (folder / embedded.SOCKET).stat().st_mode & 0o777) == (
            0o700,
            0o700,
        )
        assert (await redis.config_get("port"))["port"] == "0"


async def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingsError, match=r"cannot be kept in .*file/store: Not a directory. Set ALIQUOT_DATA_DIR"
    ):
        async with store_in(tmp_path / "file" / "store"):
            pass


async def test_a_damaged_file_is_told_with_the_servers_last_word(tmp_path):
    (tmp_path / "appendonly.aof").write_text("no commands")
    with pytest.raises(SettingsError, match=r"The store did not start\. .*append only file.*redis\.log"):
        async with store_in(tmp_path):
            pass


async def test_a_start_that_is_broken_off_leaves_the_folder_free(tmp_path, monkeypatch):
    async def hangs(_: object) -> bool:
        await asyncio.sleep(600)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(embedded.EmbeddedServer, "_answers", hangs)
        store = Store(Settings(data_dir=tmp_path, log_folder=tmp_path))
        starting = asyncio.create_task(store.start())
        while not (tmp_path / embedded.SOCKET).exists():
            await asyncio.sleep(0.005)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    async with store_in(tmp_path) as store:
        assert await store.answers()


def test_without_any_server_the_mend_is_told(monkeypatch):
    monkeypatch.setattr(embedded, "BUNDLED", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        SettingsError, match=r"Install redis-server .* or name a running one in ALIQUOT_REDIS_URL"
    ):
        embedded.find_server()


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_does_too(monkeypatch, tmp_path, name):
    monkeypatch.setattr(embedded, "BUNDLED", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / name
    program.write_text("")
    program.chmod(0o700)
    assert embedded.find_server() == program
