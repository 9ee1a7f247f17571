"""tenants.md against a service that asks for keys: its commands run, and nothing that it should tell is left out."""

import json
import shlex

import pytest
from structlog.testing import capture_logs

from service.tenant_schemas import KeyRequest, MostRequest, TenantRequest
from tests.reference import ROOT
from tests.service.cli.terminal import aliquot
from tests.service.tenants.asking import ADMIN_KEY, asking, bearer
from tests.stand_ins import MODEL

PAGE = (ROOT / "docs/tenants.md").read_text()


def blocks(language):
    return [part.partition("\n```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


@pytest.fixture(autouse=True)
def quiet():
    with capture_logs():
        yield


async def test_the_commands_run_one_after_the_other(monkeypatch):
    monkeypatch.setenv("ALIQUOT_ADMIN_KEY", ADMIN_KEY)
    async with asking() as running:
        made = None
        for line in "\n".join(blocks("bash")).splitlines():
            words = shlex.split(line.replace(" ID", f" {made and made.split('-')[1]}"))
            assert words[:2] == ["aliquot", "keys"]
            result = await aliquot(*words[1:], url=running.url)
            assert result.exit_code == 0, (line, result.stderr)
            made = result.stdout.strip() if words[2] == "create" else made


async def test_usage_has_the_fields_that_are_shown():
    async with asking() as running:
        answer = await running.client.get("/v1/admin/tenants", headers=bearer(ADMIN_KEY))
        assert answer.json()["data"] == []
        await running.client.post(
            "/v1/chat/completions",
            json={"model": MODEL, "messages": [{"role": "user", "content": "?"}], "max_tokens": 8},
            headers=bearer(ADMIN_KEY),
        )
        told = (await running.client.get("/v1/usage", headers=bearer(ADMIN_KEY))).json()
    shown = json.loads(next(text for text in blocks("text") if text.startswith('{"object": "usage"')))
    assert fields(told) == fields(shown)


def fields(value):
    """The names of all fields, however deep."""
    if isinstance(value, dict):
        return {name: fields(part) for name, part in value.items()}
    return [fields(value[0])] if isinstance(value, list) else None


def test_no_limit_and_no_option_is_left_out():
    wanted = [name for model in (TenantRequest, MostRequest, KeyRequest) for name in model.model_fields]
    assert [name for name in wanted if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE] == []
