import pytest

from tests.service.cli.terminal import WIDTH, aliquot
from tests.service.live import live
from tests.stand_ins import MODEL


async def test_models_are_listed_with_their_engines(served):
    result = await aliquot("models", url=served.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:2] == [MODEL, "answers"]
    async with live(models=[{"name": "gone", "urls": ["http://127.0.0.1:9"], "hardware": "h100"}]) as down:
        result = await aliquot("models", url=down.url)
    assert "does not answer" in result.stdout
    assert "h100" in result.stdout


async def test_strategies_fit_80_columns_and_name_every_parameter(served):
    result = await aliquot("strategies", url=served.url)
    assert result.exit_code == 0
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
    for strategy in (await served.client.get("/v1/strategies")).json()["data"]:
        assert strategy["name"] in result.stdout
        assert all(param in result.stdout for param in strategy["params"]["properties"])
    assert "(never, beta, ahead_by_k)" in " ".join(result.stdout.split())


async def test_one_strategy_is_told_whole(served):
    result = await aliquot("strategies", "majority", url=served.url)
    assert "2203.11171" in result.stdout
    assert "best_of_n" not in result.stdout
    unknown = await aliquot("strategies", "luck", url=served.url)
    assert unknown.exit_code == 1
    assert "There are auto, beam_search" in unknown.stderr


async def test_verifiers_are_listed_with_the_configured_ones():
    configured = [{"name": "big-judge", "kind": "judge", "model": MODEL}]
    async with live(verifiers=configured) as served:
        result = await aliquot("verifiers", url=served.url)
    for name in ("self_certainty", "judge", "exact", "big-judge"):
        assert name in result.stdout
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())


@pytest.mark.parametrize("command", ["models", "strategies", "verifiers"])
async def test_without_a_service_a_sentence(command):
    result = await aliquot(command)
    assert result.exit_code == 1
    assert "No Aliquot answers at http://127.0.0.1:9" in result.stderr


@pytest.mark.parametrize("command", ["serve", "ask", "models", "strategies", "verifiers", "doctor"])
async def test_help_fits_and_shows_examples(command):
    result = await aliquot(command, "--help")
    assert result.exit_code == 0
    assert f"aliquot {command}" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())


async def test_the_version_is_told():
    assert (await aliquot("--version")).stdout.startswith("aliquot 0.")
