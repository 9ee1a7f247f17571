"""The launcher on the real vLLM: what it starts answers as our client expects, and does not stay dead."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from engines.guard import members
from engines.launch import Supervisor
from tests.integration.servers import Server, gauge, running, tiny_model

PROMPT = list(range(1000, 1130))
"""130 tokens: four full blocks of 32, and two more."""


async def complete(server: Server, **body: Any) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/v1/completions", json={"model": server.model} | body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        reply: dict[str, Any] = await answer.json()
        return reply


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def processes(supervisor: Supervisor) -> dict[str, int]:
    """The server's processes by the last word of what each calls itself."""
    assert supervisor._process is not None
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in members(supervisor._process.pid)}
    marks = {"guard": b"guard.py", "server": b"api_server", "core": b"EngineCore", "worker": b"Worker"}
    # The guard's line holds the server's: the first mark that fits is the process's own.
    return {
        next((mark for mark, part in marks.items() if part in line), "other"): pid
        for pid, line in lines.items()
    }


def test_it_is_ready_once_started(tiny_vllm: Server) -> None:
    assert (tiny_vllm.supervisor.state, tiny_vllm.supervisor.restarts) == ("ready", 0)


async def test_one_call_continues_several_prompts_of_token_ids_sixteen_times_each(tiny_vllm: Server) -> None:
    prompts = [PROMPT, PROMPT[:7]]
    asked = {"prompt": prompts, "n": 16, "max_tokens": 5, "return_token_ids": True, "logprobs": 0, "seed": 7}
    reply = await complete(tiny_vllm, **asked)
    assert [choice["index"] for choice in reply["choices"]] == list(range(32))
    for choice in reply["choices"]:
        assert choice["prompt_token_ids"] == prompts[choice["index"] // 16]
        assert 1 <= len(choice["token_ids"]) <= 5
        assert len(choice["logprobs"]["token_logprobs"]) == len(choice["token_ids"])
    assert reply["usage"]["prompt_tokens"] == len(PROMPT) + 7
    assert reply["usage"]["completion_tokens"] == sum(len(choice["token_ids"]) for choice in reply["choices"])


async def test_a_prompt_that_comes_again_is_read_from_the_cache_to_its_last_full_block(
    tiny_vllm: Server,
) -> None:
    prompt = [token + 5000 for token in PROMPT]
    asked = {"prompt": [prompt], "n": 1, "max_tokens": 1}
    cached = [
        (await complete(tiny_vllm, **asked))["usage"]["prompt_tokens_details"]["cached_tokens"]
        for _ in range(2)
    ]
    assert cached == [0, 128]


async def test_a_closed_connection_brings_the_engine_to_rest_within_a_second(tiny_vllm: Server) -> None:
    asking = asyncio.create_task(complete(tiny_vllm, prompt=[PROMPT], n=16, max_tokens=1500, ignore_eos=True))
    async with asyncio.timeout(20):
        while await gauge(tiny_vllm.url, "vllm:num_requests_running") < 16:
            await asyncio.sleep(0.02)
    asking.cancel()
    async with asyncio.timeout(1.0):
        while await gauge(tiny_vllm.url, "vllm:num_requests_running") > 0:
            await asyncio.sleep(0.02)


async def test_whatever_is_killed_it_comes_back_and_stop_leaves_no_process(tmp_path: Path) -> None:
    with running(tiny_model("generator"), tmp_path) as server:
        supervisor = server.supervisor
        first = processes(supervisor)
        assert first.keys() >= {"guard", "server", "core", "worker"}
        os.kill(first["core"], signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and supervisor.state == "ready", 300)
        second = processes(supervisor)
        assert not set(first.values()) & set(second.values())
        assert len((await complete(server, prompt=[PROMPT], n=2, max_tokens=3))["choices"]) == 2
        # Without its guard, vLLM leaves engine and worker running when its server is killed.
        os.kill(second["server"], signal.SIGKILL)
        await until(lambda: supervisor.state == "restarting", 60)
        assert members(second["guard"]) == set()
    assert supervisor.state == "stopped"
    assert processes(supervisor) == {}
