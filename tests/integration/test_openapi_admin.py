"""The routes on tenants, keys and usage against their own description, with the admin key."""

import asyncio
import sys
from pathlib import Path

from tests.integration.test_openapi import CHECKS
from tests.service.tenants.asking import ADMIN_KEY, asking


async def test_schemathesis_finds_no_5xx_and_nothing_undescribed(tmp_path):
    async with asking() as running:
        run = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "schemathesis",
            *(
                "run",
                f"{running.url}/openapi.json",
                "--checks",
                CHECKS,
                "--max-examples",
                "20",
                "--seed",
                "1",
            ),
            *("--phases", "examples,coverage,fuzzing", "--include-path-regex", "/v1/(admin|usage)"),
            *("--header", f"Authorization: Bearer {ADMIN_KEY}", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await run.communicate()
        assert run.returncode == 0, output.decode()[-6000:]
        counted = (await running.client.get("/metrics")).text
    for route, statuses in {
        "/v1/admin/tenants/{name}": (200, 400, 404),
        "/v1/admin/keys": (200, 201, 400),
        "/v1/usage": (200, 400),
    }.items():
        for status in statuses:
            assert f'aliquot_requests_total{{route="{route}",status="{status}"}}' in counted
