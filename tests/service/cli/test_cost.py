import json

import pytest

from tests.service.cli.terminal import WIDTH, aliquot
from tests.service.live import live
from tests.service.priced import LLAMA

SHAPE = "params=8.19e9,active_params=7.57e9,num_layers=36,num_attention_heads=32,num_kv_heads=8,head_dim=128"
NUMBERS = ("--shape", SHAPE, "--prompt-tokens", "512", "--output-tokens", "4096", "--samples", "16")


async def test_terms_are_shown_largest_first_with_seconds_and_memory(served):
    result = await aliquot("cost", *NUMBERS, "--hardware", "h100-sxm", "--concurrency", "2", url=served.url)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["weight_reads", "9.91e+15", "58.5", "%"]
    assert lines[2][0] == "kv_reads"
    assert ["total", "1.69e+16", "100.0", "%"] in lines
    assert "32 s by the roofline, 9.74 GB of KV at the most" in result.stdout
    assert "usd is not known" in result.stdout


async def test_json_is_the_reply_itself(served):
    words = ("--attention", "block_topk,local=64,block_size=16,topk=8", "--no-share-prompt", "--published")
    result = await aliquot(
        "cost", *NUMBERS, "--arithmetic-intensity", "562.5", *words, "--json", url=served.url
    )
    reply = json.loads(result.stdout)
    assert reply["seconds"] is None
    assert reply["eflops"]["block_search"] > 0
    assert reply["eflops"]["weight_reads"] is None


async def test_the_first_model_is_the_default_and_a_verifier_is_counted(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    model = {"name": "small", "urls": ["http://127.0.0.1:9"], "path": str(tmp_path)}
    async with live(models=[model]) as served:
        hardware = ("--hardware", "flops=1e14,bytes_per_second=1e12,memory_bytes=8e10")
        for verifier in ("model=small,output_tokens=8", f"{SHAPE},prompt_tokens=100"):
            result = await aliquot("cost", *hardware, "--verifier", verifier, url=served.url)
            assert "verifier_compute" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--hardware", "h100"), "name one of a100-sxm"),
        (("--hardware", "l4", "--model", "stand-in"), "model and shape"),
        (("--hardware", "l4", "--attention", "topk"), "attention.budget is missing"),
        (("--hardware", "l4", "--attention", "topk,256"), "should read NAME=VALUE"),
        (("--hardware", "l4", "--verifier", "params=nan"), "no finite number"),
        (("--arithmetic-intensity", "nan"), "no finite number"),
        (("--shape", "params=1,params=2"), "each name once"),
    ],
)
async def test_what_cannot_be_priced_is_told_in_a_sentence(served, words, says):
    result = await aliquot("cost", *NUMBERS, *words, url=served.url)
    assert result.exit_code == 1
    assert says in result.stderr


async def test_without_a_service_a_sentence():
    assert "No Aliquot answers at" in (await aliquot("cost", *NUMBERS)).stderr


async def test_help_fits_and_shows_examples():
    result = await aliquot("cost", "--help")
    assert "aliquot cost" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
