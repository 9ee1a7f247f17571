"""`aliquot serve` where others can reach it: keys are needed, and it says how to make the first."""

import asyncio
import signal
from contextlib import asynccontextmanager

import httpx
import pytest

from engines.scripted import ScriptedEngine
from tests.service.cli.terminal import aliquot, started
from tests.service.tenants.asking import ADMIN_KEY, bearer
from tests.stand_ins import MODEL, StandInVllm, serving


@asynccontextmanager
async def serves(folder, **env):
    """A service that listens on all addresses, in `folder`; what it says until it is ready."""
    config = folder / "world.yaml"
    async with serving(StandInVllm(ScriptedEngine(["15"] * 12)).app()) as engine:
        config.write_text(f"models: [{{name: {MODEL}, urls: ['{engine}']}}]")
        words = ("serve", "--config", str(config), "--port", "0", "--host", "0.0.0.0")
        async with started(*words, cwd=folder, env={"ALIQUOT_DRAIN_SECONDS": "0", **env}) as process:
            said = b""
            async with asyncio.timeout(60):
                while b"Ctrl-C stops it." not in said:
                    line = await process.stdout.readline()
                    assert line, (await process.communicate())[1]
                    said += line
            yield said.decode()
            process.send_signal(signal.SIGTERM)
            await process.communicate()


def address(said):
    return said.partition("Aliquot is ready at ")[2].split()[0]


async def test_the_first_key_is_made_as_the_start_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIQUOT_ADMIN_KEY", ADMIN_KEY)
    async with serves(tmp_path, ALIQUOT_ADMIN_KEY=ADMIN_KEY) as said:
        assert "`aliquot keys create NAME` makes it" in said.replace("\n", " ")
        assert "Authorization: Bearer $ALIQUOT_API_KEY" in said
        assert ADMIN_KEY not in said
        url = address(said)
        made = await aliquot("keys", "create", "maths", url=url)
        assert made.exit_code == 0, made.stderr
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/v1/models")).status_code == 401
            listed = await client.get("/v1/models", headers=bearer(made.stdout.strip()))
            assert listed.status_code == 200
    async with serves(tmp_path, ALIQUOT_ADMIN_KEY=ADMIN_KEY) as said:
        assert "keys create" not in said


@pytest.mark.parametrize(("auth", "status"), [("auto", 401), ("off", 200)])
async def test_without_an_admin_key_it_says_what_to_set(tmp_path, auth, status):
    async with serves(tmp_path, ALIQUOT_AUTH=auth) as said:
        told = "Set ALIQUOT_ADMIN_KEY to what `openssl rand -hex 32` prints" in said.replace("\n", " ")
        assert told == (status == 401)
        async with httpx.AsyncClient(base_url=address(said)) as client:
            assert (await client.get("/v1/models")).status_code == status
