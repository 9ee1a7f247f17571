"""The live API against its own description: no 5xx, no status and no shape that is not described."""

import asyncio
import sys
from itertools import repeat
from pathlib import Path

import pytest

from tests.service.live import live

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


@pytest.fixture
async def served():
    async with live(lambda _: repeat("The answer is 15.")) as running:
        yield running


async def test_every_route_is_described(served):
    paths = (await served.client.get("/openapi.json")).json()["paths"]
    assert set(paths) == {
        "/v1/chat/completions",
        "/v1/scale",
        "/v1/budget/cost",
        "/v1/budget/recommend",
        "/v1/profiles",
        "/v1/feedback",
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/events",
        "/v1/jobs/{id}/journal",
        "/v1/batches",
        "/v1/batches/{id}",
        "/v1/batches/{id}/results",
        "/v1/batches/{id}/cancel",
        "/v1/files",
        "/v1/files/{id}",
        "/v1/files/{id}/content",
        "/v1/models",
        "/v1/models/{id}",
        "/v1/strategies",
        "/v1/verifiers",
        "/v1/usage",
        "/v1/admin/tenants",
        "/v1/admin/tenants/{name}",
        "/v1/admin/keys",
        "/v1/admin/keys/{id}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert set(paths["/v1/scale"]["post"]["responses"]) == {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "409",
        "413",
        "422",
        "429",
        "503",
        "504",
    }


async def test_schemathesis_finds_no_5xx_and_nothing_undescribed(served, tmp_path):
    command = (Path(sys.executable).parent / "schemathesis", "run", f"{served.url}/openapi.json")
    options = (
        "--checks",
        CHECKS,
        "--max-examples",
        "60",
        "--seed",
        "1",
        "--phases",
        "examples,coverage,fuzzing",
    )
    run = await asyncio.create_subprocess_exec(
        *command,
        *options,
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()[-6000:]
    counted = (await served.client.get("/metrics")).text
    met = {"/v1/chat/completions": (200, 400, 422), "/v1/budget/cost": (200, 400, 422)}
    for route, statuses in (met | {"/v1/budget/recommend": (200, 400), "/v1/profiles": (200, 400)}).items():
        for status in statuses:
            assert f'aliquot_requests_total{{route="{route}",status="{status}"}}' in counted
