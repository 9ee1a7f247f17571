"""Servers that speak vLLM's protocol and answer from a script, for tests of everything that talks to one."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web

from engines.base import Call, Chunk, Engine, EngineError, Message

MODEL = "stand-in"


class StandInVllm:
    """The HTTP face of an engine: what vLLM's OpenAI server answers, for the routes that Aliquot calls.

    `running` counts samples being generated; `fault`, where set, answers completions instead of the engine. `load`,
    where set, is what /metrics tells: sequences that run and that wait, and the use of the KV cache.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests: list[tuple[str, Any]] = []
        self.running = 0
        self.fault: Callable[[web.Request], Any] | None = None
        self.load: tuple[float, float, float] | None = None
        self.load_asked = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20, handler_args={"handler_cancellation": True})
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/completions", self._completions)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        self.load_asked += 1
        if self.load is None:
            raise web.HTTPNotFound
        names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        label = f'{{engine="0",model_name="{MODEL}"}}'
        lines = (f"vllm:{name}{label} {value}\n" for name, value in zip(names, self.load, strict=True))
        return web.Response(text="# HELP vllm:num_requests_running Number.\n" + "".join(lines))

    async def _models(self, _: web.Request) -> web.Response:
        length = await self.engine.context_length()
        return web.json_response({"data": [{"id": MODEL, "max_model_len": length}]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(("/tokenize", body))
        tokens = await self.engine.tokenize(body["messages"])
        return web.json_response({"count": len(tokens), "max_model_len": 32768, "tokens": tokens})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(("/v1/completions", body))
        if self.fault:
            return await self.fault(request)
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        call = Call(
            tuple(map(tuple, prompts)),
            body["n"],
            body["max_tokens"],
            tuple(body.get("stop", ())),
            body.get("logprobs"),
        )
        self.running += len(prompts) * call.n
        try:
            if body.get("stream"):
                return await self._stream(request, call)
            generation = await self.engine.sample(call)
        except EngineError as error:
            return web.json_response({"error": {"message": str(error), "code": 500}}, status=500)
        finally:
            self.running -= len(prompts) * call.n
        choices = [
            _choice(p * call.n + i, s.text, s.tokens, s.finish_reason, s.logprob)
            for p, samples in enumerate(generation.samples)
            for i, s in enumerate(samples)
        ]
        generated = sum(len(s.tokens) for samples in generation.samples for s in samples)
        return web.json_response({"choices": choices, "usage": _usage(call, generated)})

    async def _stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        generated = 0
        async for chunk in self.engine.stream(call):
            if isinstance(chunk, Chunk):
                generated += len(chunk.tokens)
                index = chunk.prompt * call.n + chunk.choice
                choice = _choice(index, chunk.text, chunk.tokens, chunk.finish_reason, chunk.logprob)
                await _event(response, {"choices": [choice]})
        await _event(response, {"choices": [], "usage": _usage(call, generated)})
        await response.write(b"data: [DONE]\n\n")
        return response


class StandInReward:
    """A pooling server that scores a conversation's last message by looking it up."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self._score = score
        self.asked = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/pooling", self._pooling)
        app.router.add_post("/classify", self._classify)
        return app

    async def _pooling(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"data": [{"data": [await self._read(request)]}], "usage": {"prompt_tokens": 11}}
        )

    async def _classify(self, request: web.Request) -> web.Response:
        probability = await self._read(request)
        probs = [1 - probability, probability]
        return web.json_response({"data": [{"probs": probs}], "usage": {"prompt_tokens": 11}})

    async def _read(self, request: web.Request) -> float:
        self.asked += 1
        return self._score((await request.json())["messages"][-1]["content"])


class StandInProcessReward:
    """A pooling server of a token classifier that gives a prefix of token ids what `good` says, in (0, 1).

    Its tokens are characters, and "<+>", which is one. `rows`: one a `token`, one a `step` (at each "<+>"), or one in
    all for a `text`. `fault`, where set, answers /pooling instead, unless it returns None.
    """

    MARK = 0

    def __init__(self, rows: Literal["token", "step", "text"] = "token", most: int = 4096) -> None:
        self.rows = rows
        self.most = most
        self.requests: list[tuple[str, Any]] = []
        self.fault: Callable[[list[list[int]]], Awaitable[web.Response | None]] | None = None

    @staticmethod
    def good(ids: Sequence[int]) -> float:
        return (1 + zlib.crc32(bytes(str(list(ids)), "ascii")) % 999) / 1001

    @classmethod
    def tokens(cls, text: str) -> list[int]:
        return [cls.MARK if part == "<+>" else ord(part) for part in re.findall(r"<\+>|.", text, re.DOTALL)]

    @classmethod
    def head(cls, messages: Sequence[Message]) -> list[int]:
        return cls.tokens("".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: ")

    def asked(self, path: str) -> list[Any]:
        """The bodies that reached `path`."""
        return [body for asked, body in self.requests if asked == path]

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20, handler_args={"handler_cancellation": True})
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/pooling", self._pooling)
        return app

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(("/tokenize", body))
        ids = self.head(body["messages"]) if "messages" in body else self.tokens(body["prompt"])
        return web.json_response({"count": len(ids), "max_model_len": self.most, "tokens": ids})

    async def _pooling(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(("/pooling", body))
        answer = await self.fault(body["input"]) if self.fault else None
        if answer is not None:
            return answer
        if any(not 0 < len(ids) <= self.most for ids in body["input"]):
            return web.json_response({"error": {"message": "too long"}}, status=400)
        data = [{"index": i, "data": self._rows(ids)} for i, ids in enumerate(body["input"])]
        return web.json_response({"data": data, "usage": {"prompt_tokens": sum(map(len, body["input"]))}})

    def _rows(self, ids: list[int]) -> list[Any]:
        rows = [[1 - good, good] for good in (self.good(ids[: n + 1]) for n in range(len(ids)))]
        if self.rows == "text":
            return rows[-1]
        return [
            row for token, row in zip(ids, rows, strict=True) if self.rows == "token" or token == self.MARK
        ]


class StandInEmbeddings:
    """An embedding server that looks vectors up."""

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        self._vectors = vectors
        self.requests: list[Any] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/embeddings", self._embed)
        return app

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        data = [{"index": i, "embedding": self._vectors[text]} for i, text in enumerate(body["input"])]
        return web.json_response({"data": data, "usage": {"prompt_tokens": sum(map(len, body["input"]))}})


@asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    """The address of `app`, listening on a free port of this machine."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; TimeoutError after some seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def _choice(
    index: int, text: str, tokens: Any, finish_reason: str | None, logprob: float | None
) -> dict[str, Any]:
    logprobs = None
    if logprob is not None and tokens:
        logprobs = {
            "token_logprobs": [logprob / len(tokens)] * len(tokens),
            "top_logprobs": [None] * len(tokens),
        }
    return {
        "index": index,
        "text": text,
        "token_ids": list(tokens),
        "finish_reason": finish_reason,
        "stop_reason": None,
        "logprobs": logprobs,
    }


def _usage(call: Call, generated: int) -> dict[str, Any]:
    prompt_tokens = sum(map(len, call.prompts))
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "prompt_tokens_details": {"cached_tokens": prompt_tokens // 2},
    }


async def _event(response: web.StreamResponse, value: Any) -> None:
    await response.write(f"data: {json.dumps(value)}\n\n".encode())
