import re

import pytest

from tests.service.cli.terminal import WIDTH, aliquot
from tests.service.tenants.asking import ADMIN_KEY, asking, bearer
from tests.stand_ins import MODEL


@pytest.fixture
async def service(monkeypatch):
    monkeypatch.setenv("ALIQUOT_ADMIN_KEY", ADMIN_KEY)
    async with asking() as running:
        yield running


async def opens(running, key):
    return (await running.client.get("/v1/models", headers=bearer(key))).status_code == 200


async def test_a_key_is_made_shown_once_listed_and_revoked(service):
    made = await aliquot("keys", "create", "maths", "--note", "laptop", url=service.url)
    assert made.exit_code == 0, made.stderr
    key = made.stdout.strip()
    assert re.fullmatch(r"ak-[0-9a-f]{16}-\S{43}", key)
    assert await opens(service, key)
    listed = await aliquot("keys", "list", url=service.url)
    id = key.split("-")[1]
    assert f"{id}  20" in listed.stdout
    assert "laptop" in listed.stdout
    assert key.split("-", 2)[2] not in listed.stdout + made.stderr
    assert (await aliquot("keys", "revoke", id, url=service.url)).exit_code == 0
    assert not await opens(service, key)
    again = await aliquot("keys", "revoke", id, url=service.url)
    assert (again.exit_code, "There is no key" in again.stderr) == (1, True)


async def test_limits_are_set_with_the_first_key_and_changed_later(service):
    words = [
        "--requests-per-second",
        "5",
        "--tokens-per-day",
        "1000000",
        "--most",
        "samples=64",
        "--most",
        "usd=0.5",
    ]
    made = await aliquot("keys", "create", "maths", "--model", MODEL, *words, url=service.url)
    assert made.exit_code == 0, made.stderr
    said = "5 requests per second; 1,000,000 tokens a day; "
    assert f"{said}models {MODEL}; one request samples=64, usd=0.5" in (
        await aliquot("keys", "list", url=service.url)
    ).stdout.replace("\n", "")
    twice = await aliquot("keys", "create", "maths", "--usd-per-day", "2", url=service.url)
    assert "aliquot keys limits maths" in twice.stderr
    changed = await aliquot("keys", "limits", "maths", "--usd-per-day", "2", url=service.url)
    assert changed.stdout.split() == ["maths", "2", "USD", "a", "day"]
    nothing = await aliquot("keys", "limits", "maths", url=service.url)
    assert (nothing.exit_code, "--none" in nothing.stderr) == (1, True)
    lifted = await aliquot("keys", "limits", "maths", "--none", url=service.url)
    assert lifted.stdout.split() == ["maths", "no", "limits"]


async def test_a_tenant_is_removed_with_its_keys(service):
    keys = [(await aliquot("keys", "create", "maths", url=service.url)).stdout.strip() for _ in range(2)]
    gone = await aliquot("keys", "remove", "maths", url=service.url)
    assert "keys revoked: 2" in gone.stdout
    assert not any([await opens(service, key) for key in keys])
    assert "no tenant yet" in (await aliquot("keys", "list", url=service.url)).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "a/b"], "is no name"),
        (["create", ".."], "is no name"),
        (["create", "admin"], "Choose another"),
        (["create", "maths", "--most", "hours=3"], "UNIT=MOST"),
        (["create", "maths", "--most", "usd=nan"], "UNIT=MOST"),
        (["create", "maths", "--usd-per-day", "-1"], "usd_per_day"),
        (["create", "maths", "--model", "other"], "There is no model"),
        (["limits", "maths", "--requests-at-once", "3"], "There is no tenant maths"),
        (["remove", "maths"], "There is no tenant maths"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_sentence(service, words, says):
    result = await aliquot("keys", *words, url=service.url)
    assert result.exit_code == 1
    assert says in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


async def test_without_the_admin_key_a_sentence_and_a_wrong_one_is_not_shown(service, monkeypatch):
    monkeypatch.setenv("ALIQUOT_ADMIN_KEY", "another-admin-key-altogether")
    wrong = await aliquot("keys", "list", url=service.url)
    assert (wrong.exit_code, "is not the admin key" in wrong.stderr) == (1, True)
    assert "another-admin-key" not in wrong.stderr
    monkeypatch.delenv("ALIQUOT_ADMIN_KEY")
    without = await aliquot("keys", "list", url=service.url)
    assert (without.exit_code, "ALIQUOT_ADMIN_KEY" in without.stderr) == (1, True)


async def test_the_other_commands_send_the_key_of_the_environment(service, monkeypatch):
    refused = await aliquot("models", url=service.url)
    assert (refused.exit_code, "ALIQUOT_API_KEY" in refused.stderr) == (1, True)
    key = (await aliquot("keys", "create", "maths", url=service.url)).stdout.strip()
    monkeypatch.setenv("ALIQUOT_API_KEY", key)
    for words in (
        ["models"],
        ["ask", "What is 7 + 8?", "--samples", "2"],
        ["recommend", "--prompt-tokens", "20", "--samples", "4"],
        ["cost", "--hardware", "l4", "--shape", "params=1e8,num_layers=8,num_attention_heads=8"],
    ):
        result = await aliquot(*words, url=service.url)
        assert "API key" not in result.stderr, words
        assert key not in result.stdout + result.stderr
    monkeypatch.setenv("ALIQUOT_API_KEY", "two words")
    assert "ALIQUOT_API_KEY holds" in (await aliquot("models", url=service.url)).stderr


async def test_a_calibration_asks_with_one_key_and_is_kept_with_the_admins(service, monkeypatch, tmp_path):
    key = (await aliquot("keys", "create", "maths", url=service.url)).stdout.strip()
    monkeypatch.setenv("ALIQUOT_API_KEY", key)
    data = tmp_path / "problems.jsonl"
    data.write_text('{"question": "What is 7 + 8?", "answer": "15"}\n{"question": "1 + 1?", "answer": "2"}\n')
    words = ["calibrate", "--data", str(data), "--task", "sums", "--samples", "4", "--format", "number"]
    files = ["--log", str(tmp_path / "log"), "--out", str(tmp_path / "out.svg")]
    kept = await aliquot(*words, *files, url=service.url)
    assert kept.exit_code == 0, kept.stderr
    assert "Kept as" in kept.stdout
    used = (await service.client.get("/v1/usage", headers=bearer(key))).json()
    assert used["days"][0]["requests"] == 2


@pytest.mark.parametrize("command", ["create", "list", "limits", "revoke", "remove"])
async def test_help_fits_and_shows_examples(command):
    result = await aliquot("keys", command, "--help")
    assert result.exit_code == 0
    assert f"aliquot keys {command}" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
