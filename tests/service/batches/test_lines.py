"""What a batch's lines may be, and what is told of those that cannot be run."""

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.lines import MOST_FAULTS, read_lines
from service.errors import undoable
from service.settings import Limits

CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "7 + 8?"}]}


def line(custom_id="a", method="POST", url=CHAT, body=ASK, **more) -> str:
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body} | more)


async def read(text: str | bytes, most: int = 10, check=lambda _: None):
    limits = Limits(batch_lines=most, body_bytes=2_000)
    return await read_lines(text.encode() if isinstance(text, str) else text, limits, check)


async def test_lines_come_in_order_with_what_their_results_need():
    tools = [{"type": "function", "function": {"name": "f"}}]
    text = "\n".join([line("b"), "", line("a", body=ASK | {"n": 2, "tools": tools}) + "\r", " ", ""])
    found = await read(text)
    assert (found.endpoint, found.faults) == (CHAT, [])
    assert [(name.custom_id, name.n, name.tools) for name, _ in found.lines] == [
        ("b", 1, False),
        ("a", 2, True),
    ]
    assert json.loads(found.lines[0].body) == ASK


WRONG = {
    "no JSON": ("{", "invalid_json_line", None),
    "no object": ("[1]", "invalid_line", None),
    "a field missing": ('{"custom_id": "a"}', "invalid_line", None),
    "a field too many": (line(more=1), "invalid_line", None),
    "a number as an id": (line(7), "invalid_line", None),
    "an empty id": (line(""), "invalid_custom_id", "custom_id"),
    "a long id": (line("x" * 513), "invalid_custom_id", "custom_id"),
    "an id with NUL": (line("a\x00"), "invalid_custom_id", "custom_id"),
    "GET": (line(method="GET"), "invalid_method", "method"),
    "another route": (line(url="/v1/embeddings"), "invalid_url", "url"),
    "a whole address": (line(url="https://evil.example" + CHAT), "invalid_url", "url"),
    "a body that is a text": (line(body="x"), "invalid_value", "body"),
    "a field that is none": (line(body=ASK | {"nonsense": 1}), "unknown_parameter", "body.nonsense"),
    "a model missing": (line(body={"messages": ASK["messages"]}), "missing_parameter", "body.model"),
    "a stream": (line(body=ASK | {"stream": True}), "invalid_value", "body.stream"),
    "deep nesting": ("[" * 100_000, "invalid_line", None),
    "deep nesting of the body": (
        line().replace('"7 + 8?"', "[" * 100_000 + "]" * 100_000),
        "invalid_json_line",
        None,
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_line_that_cannot_be_run_is_named(case):
    text, code, param = WRONG[case]
    found = await read(f"{line('first')}\n\n{text}\n")
    (fault,) = found.faults
    assert (fault.code, fault.param, fault.line) == (code, param, 3)
    assert fault.message.startswith("Line 3: ")
    assert len(fault.message) < 500
    assert found.lines == []


async def test_bytes_that_are_no_text_are_named():
    found = await read(line("a").encode() + b"\n" + b'{"custom_id": "\xff"}')
    assert (found.faults[0].code, found.faults[0].line) == ("invalid_json_line", 2)


async def test_a_repeated_id_and_another_route_name_what_came_before():
    found = await read("\n".join([line("a"), line("b", url="/v1/scale"), line("a")]))
    assert [(fault.code, fault.line) for fault in found.faults] == [
        ("mismatched_url", 2),
        ("duplicate_custom_id", 3),
    ]
    assert "line 1" in found.faults[1].message


async def test_what_the_service_cannot_do_is_a_fault_of_its_line():
    def check(request):
        if request.model == "other":
            raise undoable("unknown_strategy", "There is none.", "scaling.strategy")

    found = await read(line("a") + "\n" + line("b", body=ASK | {"model": "other"}), check=check)
    (fault,) = found.faults
    assert (fault.code, fault.param, fault.line) == ("unknown_strategy", "body.scaling.strategy", 2)


async def test_the_number_of_lines_and_of_faults_is_bounded():
    found = await read("\n".join(line(str(n)) for n in range(11)))
    assert [(fault.code, fault.line) for fault in found.faults] == [("too_many_requests", None)]
    found = await read("x\n" * 500, most=1_000)
    assert len(found.faults) == MOST_FAULTS


@pytest.mark.parametrize("text", ["", "\n \r\n\t\n" * 1_000])
async def test_nothing_is_no_batch(text):
    assert [fault.code for fault in (await read(text)).faults] == ["empty_batch"]


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_read_or_told(text):
    found = asyncio.run(read(text))
    assert bool(found.lines) != bool(found.faults)


async def test_others_have_their_turn_while_a_batch_is_read():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await read("\n".join(line(str(n)) for n in range(100)), most=100, check=lambda _: time.sleep(0.001))
    task.cancel()
    assert turns > 5


async def test_a_line_may_be_no_larger_than_a_request_of_its_own():
    long = [{"role": "user", "content": "7 + 8? " * 1_000}]
    small, large = line("a"), line("b", body=ASK | {"messages": long})
    found = await read(f"{small}\n{large}")
    assert [(fault.code, fault.line, fault.param) for fault in found.faults] == [
        ("body_too_large", 2, "body")
    ]
