import asyncio
import io
import json
import re
import signal

import pytest
from aiohttp import web
from rich.console import Console

from service.cli.answer import show
from tests.service.cli.terminal import WIDTH, aliquot, started
from tests.service.test_recommend import graded
from tests.stand_ins import MODEL, serving, until

SUM = ("ask", "What is 7 + 8?", "--samples", "4", "--format", "number")


async def test_the_answer_the_votes_and_the_cost_are_shown(served):
    served.script(["15", "14", "It is 15.", "15"])
    result = await aliquot(*SUM, url=served.url)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "15"
    first, second = (line for line in lines if "█" in line)
    assert first.split()[:2] == ["15", "3"]
    assert second.split()[:2] == ["14", "1"]
    assert first.count("█") == 3 * second.count("█")
    assert "majority, 4 samples" in result.stdout
    assert "completed." in result.stdout


async def test_scores_are_shown_where_there_are_some(served):
    served.script(["14", "15"])
    words = ("ask", "7 + 8?", "--strategy", "best_of_n", "--samples", "2", "--reference", "15")
    result = await aliquot(*words, "--format", "number", url=served.url)
    assert result.stdout.splitlines()[0] == "15"
    assert "1.000" in result.stdout
    assert "best_of_n, 2 samples" in result.stdout


async def test_json_is_the_whole_outcome_and_nothing_else(served):
    served.script(["15"] * 4)
    result = await aliquot(*SUM, "--json", url=served.url)
    outcome = json.loads(result.stdout)
    assert outcome["object"] == "scaling.outcome"
    assert len(outcome["candidates"]) == 4
    assert result.stderr == ""


async def test_the_whole_outcome_is_written_beside_the_answer(served, tmp_path):
    served.script(["15"] * 4)
    file = tmp_path / "out.json"
    file.write_text("an earlier run")
    result = await aliquot(*SUM, "--trace", str(file), url=served.url)
    assert result.stdout.splitlines()[0] == "15"
    outcome = json.loads(file.read_text())
    assert outcome["object"] == "scaling.outcome"
    assert [event["event"] for event in outcome["trace"]][:1] == ["sample"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "is no file"),
        ("none/out.json", "cannot be written: No such file or directory"),
        ("x" * 300, "cannot be written: File name too long"),
        ("file/out.json", "cannot be written: Not a directory"),
    ],
)
async def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(served, tmp_path, name, says):
    (tmp_path / "file").touch()
    result = await aliquot(*SUM, "--trace", str(tmp_path / name), url=served.url)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Name a" in result.stderr
    assert served.stand_in.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_an_error_leaves_the_file_of_a_trace_as_it_was(served, tmp_path):
    file = tmp_path / "out.json"
    file.write_text("an earlier run")
    result = await aliquot(*SUM, "--strategy", "luck", "--trace", str(file), url=served.url)
    assert result.exit_code == 1
    assert file.read_text() == "an earlier run"


async def test_options_reach_the_service(served):
    served.script(["a"] * 8)
    options = ("--param", "stop=ahead_by_k", "--param", "k=2", "--temperature", "0.5", "--max-tokens", "9")
    more = ("--seed", "7", "--system", "Be brief.", "--tokens", "100", "--seconds", "30")
    result = await aliquot(*SUM, *options, *more, "--json", url=served.url)
    scaling = json.loads(result.stdout)["scaling"]
    assert (scaling["params"]["stop"], scaling["params"]["k"]) == ("ahead_by_k", 2)
    assert scaling["budget"] == {"samples": 4, "tokens": 100, "seconds": 30.0, "eflops": None, "usd": None}
    assert served.completions[0]["temperature"] == 0.5
    assert served.completions[0]["max_tokens"] == 9
    tokenized = next(body for path, body in served.stand_in.requests if path == "/tokenize")
    assert [message["role"] for message in tokenized["messages"]] == ["system", "user"]


async def test_auto_says_why_and_what_the_answer_is_worth(served):
    served.script(["15"] * 64)
    body = {"model": MODEL, "task": "sums", "problems": graded(0.6)}
    assert (await served.client.post("/v1/profiles", json=body)).status_code == 200
    words = ("ask", "7 + 8?", "--strategy", "auto", "--samples", "32", "--max-tokens", "64")
    result = await aliquot(*words, "--task", "sums", url=served.url)
    assert result.exit_code == 0, result.output
    told = json.loads((await aliquot(*words, "--task", "sums", "--json", url=served.url)).stdout)["scaling"]
    assert told["reasons"], told["warnings"]
    assert told["strategy"] == "auto"  # although nobody knows how long this engine takes
    after = result.stdout.partition("completed.")[2]
    assert all(" ".join(reason.split()) in " ".join(after.split()) for reason in told["reasons"])
    share = float(re.search(r"the answer is right with (?:over )?(\d+) %", after)[1])
    assert share == pytest.approx(100 * told["estimates"]["right"], abs=1)
    unmeasured = await aliquot(*words, url=served.url)
    assert "the answer is right with" not in unmeasured.stdout
    fixed = await aliquot(*SUM, "--task", "sums", url=served.url)
    assert fixed.stdout.endswith("completed.\n")


@pytest.mark.parametrize(("right", "said"), [(0.4, "40 %"), (0.996, "over 99 %"), (1.0, "over 99 %")])
def test_no_answer_is_said_to_be_certain_and_no_reason_reaches_the_terminal_raw(right, said):
    candidate = {"text": "15", "finish_reason": "stop"}
    spent = dict.fromkeys(("samples", "tokens", "prompt_tokens", "cached_tokens", "seconds"), 1)
    scaling = {
        "strategy": "auto",
        "verifier": "[/bold]\x1b[2J",
        "chosen_by": "auto",
        "spent": spent | {"verifier_tokens": 3, "usd": None},
        "answers": [],
        "stopped_because": "completed",
        "warnings": [],
        "reasons": ["Of \x1b[31mx\x07[/oops]."],
        "estimates": {"right": right},
    }
    to = Console(file=io.StringIO(), width=200)
    show({"candidates": [candidate], "scaling": scaling}, to)
    shown = to.file.getvalue()
    assert "3 read by [/bold][2J" in shown
    assert shown.endswith(f"Of [31mx[/oops].\nBy the numbers of its task, the answer is right with {said}.\n")


async def test_a_dash_reads_the_question_from_standard_input(served):
    served.script(lambda prompt: [prompt])
    result = await aliquot("ask", "-", "--samples", "1", url=served.url, stdin="Wie spät ist es?")
    assert result.stdout.splitlines()[0] == "Wie spät ist es?"
    refused = await aliquot("ask", "-", url=served.url, stdin=b"\xff\xfe")
    assert refused.exit_code == 1
    assert "not UTF-8" in refused.stderr


async def test_a_long_answer_is_not_broken_on_its_way_into_a_file(served):
    served.script(["word " * 100])
    result = await aliquot("ask", "x", "--samples", "1", url=served.url)
    assert result.stdout.splitlines()[0] == ("word " * 100).strip()
    table = [line for line in result.stdout.splitlines() if "█" in line]
    assert all(len(line) <= WIDTH for line in table)


async def test_markup_separators_and_control_sequences_of_a_model_are_plain_text(served):
    text = "[bold]x[/] [/nothing]\u2028\x1b[31mred\x07"
    served.script([text, "[/oops]"])
    result = await aliquot("ask", "[/x]", "--samples", "2", url=served.url)
    assert result.exit_code == 0, result.output
    assert "[bold]x[/] [/nothing]" in result.stdout
    assert "[31mred" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout


async def test_reasoning_cut_answers_and_warnings_are_told(served):
    served.script(["<think>seven and eight</think>15 and so on"])
    words = ("ask", "x", "--samples", "4", "--temperature", "0", "--max-tokens", "38")
    result = await aliquot(*words, url=served.url)
    assert "seven and eight\n15 and s" in result.stdout
    assert "cut at its length limit" in result.stdout
    assert "temperature 0" in result.stdout


async def test_many_answers_are_cut_to_the_first(served):
    served.script([str(i) for i in range(14)])
    result = await aliquot("ask", "x", "--samples", "14", "--format", "number", url=served.url)
    assert result.stdout.count("\n") < 20
    assert "and 4 more" in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--strategy", "luck"), "There is no strategy 'luck'. There are auto, beam_search"),
        (("--param", "confidence=7"), "less than 1"),
        (("--param", "confidence=NaN"), "confidence"),
        (("--param", "stop"), "should read NAME=VALUE"),
        (("--param", "=3"), "should read NAME=VALUE"),
        (("--seconds", "nan"), "scaling.budget.seconds"),
        (("--samples", "0"), "scaling.budget.samples"),
        (("--task", "x" * 129), "scaling.task"),
        (("--model", "gpt-9"), "There are stand-in"),
        (("--verifier", "[/oracle]"), "There is no verifier '[/oracle]'"),
        (("--url", "nowhere"), "is no address of a service"),
        (("--url", "http://127.0.0.1:9"), "Start one with `make serve`"),
        (("--url", "http://127.0.0.1:9", "--model", "m"), "Start one with `make serve`"),
    ],
)
async def test_what_is_wrong_is_a_sentence_and_exit_status_1(served, words, says):
    result = await aliquot("ask", "x", *words, url=served.url)
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stdout == ""


async def test_an_error_within_the_stream_is_a_sentence(served):
    async def down(_):
        return web.Response(status=500)

    served.stand_in.fault = down
    result = await aliquot("ask", "x", url=served.url)
    assert result.exit_code == 1
    assert "The engine answered 500" in result.stderr


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
EVENT = b'data: {"object":"scaling.event","event":"votes","at":0.1}\n\n'


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(EVENT), EVENT),
        HEAD + b"Connection: close\r\n\r\n" + EVENT,
        b"",
    ],
)
async def test_a_service_that_dies_midway_is_told_so(said):
    async def dies(reader, writer):
        await reader.readuntil(b"}")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(dies, "127.0.0.1")
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await aliquot("ask", "x", "--model", "m", url=url)
    assert result.exit_code == 1
    assert "closed the connection before it had answered" in result.stderr


async def test_a_server_that_is_no_aliquot_is_told_so(served):
    async def page(_):
        return web.Response(text="<html>")

    site = web.Application()
    site.router.add_route("*", "/{path:.*}", page)
    async with serving(site) as url:
        listed = await aliquot("models", url=url)
        asked = await aliquot("ask", "x", "--model", "m", url=url)
    assert (listed.exit_code, asked.exit_code) == (1, 1)
    assert "is it an Aliquot?" in listed.stderr


async def test_ctrl_c_ends_quietly_and_stops_the_work(served):
    served.script(["x" * 30_000] * 4, step_seconds=0.01)
    async with started("ask", "x", "--samples", "4", url=served.url) as process:
        await until(lambda: served.stand_in.running == 4)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert (out.strip(), err.strip()) == (b"", b"")
    await until(lambda: served.stand_in.running == 0)
