"""A stand-in for a vLLM server that answers at once, so that what is in front of it can be measured.

It speaks the routes that services call (`/health`, `/v1/models`, `/tokenize`, `/v1/completions`,
`/v1/chat/completions`) with bodies of vLLM's shape and size that are built once, and counts the calls of each
route. `GET /counts` returns the counts; `POST /reset` with `{"delay": seconds}` zeroes them and sets how long
a generation takes. It does not stream, and it does not take several prompts in one call.

Run it with `python benchmarks/stand_in.py --port 8100`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import cast

import httptools
import msgspec
import uvloop

MODEL = "stand-in"
CONTEXT_LENGTH = 8192
PROMPT_TOKENS = [10_000 + 7919 * i % 39_000 for i in range(60)]
RESPONSE_TOKENS = [10_000 + 6271 * i % 39_000 for i in range(30)]
ANSWERS = ("42", "42", "41", "42", "42", "43", "42", "40")
"""What the samples of one prompt say, in turn: a majority of any 8 or 16 of them is 42."""
MAJORITY = "The answer is 42."
MOST_CHOICES = 256


class Asked(msgspec.Struct):
    """The fields of a request that change the answer's shape."""

    n: int = 1
    stream: bool = False


class Reset(msgspec.Struct):
    """The body of `POST /reset`."""

    delay: float = 0.0


def http(body: object, status: str = "200 OK") -> bytes:
    """A whole HTTP response with `body` as compact JSON."""
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def refusal(status: str, message: str) -> bytes:
    return http({"error": {"message": message, "type": "BadRequestError", "param": None}}, status)


def response_text(choice: int) -> str:
    """The text of one sample: about 30 tokens that end in an answer."""
    working = " Let me add them one step at a time: first the tens, then the ones, then the carry."
    return f"{working} The answer is {ANSWERS[choice % len(ANSWERS)]}."


def generated(kind: str, choices: list[dict[str, object]]) -> bytes:
    """What vLLM puts around `choices`, counting every one as `RESPONSE_TOKENS` long."""
    completion_tokens = len(choices) * len(RESPONSE_TOKENS)
    details = {"cached_tokens": 32, "created_cache_tokens": None, "multimodal_tokens": None}
    usage = {
        "prompt_tokens": len(PROMPT_TOKENS),
        "total_tokens": len(PROMPT_TOKENS) + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": None,
    }
    unused = ("service_tier", "kv_transfer_params", "ec_transfer_params", "metrics")
    identity = {"id": "cmpl-0123456789abcdef", "object": kind, "created": int(time.time()), "model": MODEL}
    return http({**identity, "choices": choices, "usage": usage, **dict.fromkeys(unused)})


@cache
def completion(n: int, first: int) -> bytes:
    """The answer of `/v1/completions` with `return_token_ids`: samples `first` to `first + n`."""
    return generated(
        "text_completion",
        [
            {
                "index": i,
                "text": response_text(first + i),
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
                "token_ids": RESPONSE_TOKENS,
                "prompt_logprobs": None,
                "prompt_token_ids": PROMPT_TOKENS,
                "routed_experts": None,
            }
            for i in range(n)
        ],
    )


@cache
def chat_completion(n: int, first: int) -> bytes:
    """The answer of `/v1/chat/completions`: samples `first` to `first + n`."""
    return generated(
        "chat.completion",
        [
            {
                "index": i,
                "message": {"role": "assistant", "content": response_text(first + i), "tool_calls": []},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
            for i in range(n)
        ],
    )


GENERATING: dict[str, Callable[[int, int], bytes]] = {
    "/v1/completions": completion,
    "/v1/chat/completions": chat_completion,
}
CARD = {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": CONTEXT_LENGTH}
FIXED = {
    "/health": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "/v1/models": http({"object": "list", "data": [CARD]}),
}
TOKENIZED = http(
    {"count": len(PROMPT_TOKENS), "max_model_len": CONTEXT_LENGTH, "tokens": PROMPT_TOKENS}
).split(b"[10000,", 1)
UNKNOWN = refusal("404 Not Found", "The stand-in has no such route.")
STREAMED = refusal("400 Bad Request", "The stand-in does not stream: leave `stream` out.")
MALFORMED = refusal("400 Bad Request", f"The body is no JSON object with an `n` from 1 to {MOST_CHOICES}.")


class Engine:
    """What all connections share: the counts, the delay, and how far each prompt is among the answers."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.delay = 0.0
        self.turns: dict[int, int] = {}

    def answer(self, path: str, body: bytes) -> tuple[float, bytes]:
        """Seconds to wait, and the response to send then."""
        if path == "/counts":
            return 0.0, http(dict(self.calls))
        if path == "/reset":
            self.calls.clear()
            self.turns.clear()
            self.delay = msgspec.json.decode(body or b"{}", type=Reset).delay
            return 0.0, http({})
        self.calls[path] += 1
        if path == "/tokenize":
            return 0.0, self.tokenized(body)
        if path in GENERATING:
            return self.generation(GENERATING[path], body)
        return 0.0, FIXED.get(path, UNKNOWN)

    def tokenized(self, body: bytes) -> bytes:
        """Different prompts get different ids, in a response of one length."""
        return (b"[%d," % (10_000 + zlib.crc32(body) % 39_000)).join(TOKENIZED)

    def generation(self, generate: Callable[[int, int], bytes], body: bytes) -> tuple[float, bytes]:
        try:
            asked = msgspec.json.decode(body, type=Asked)
        except msgspec.MsgspecError:
            return 0.0, MALFORMED
        if not 1 <= asked.n <= MOST_CHOICES:
            return 0.0, MALFORMED
        if asked.stream:
            return 0.0, STREAMED
        return self.delay, generate(asked.n, self.turn(body, asked.n))

    def turn(self, body: bytes, n: int) -> int:
        """Where `n` more samples of this prompt start among `ANSWERS`.

        By prompt, so that a service that makes 16 calls of one sample gets the same 16 answers as one that
        makes one call of 16, however its calls mix with those of other requests.
        """
        prompt = zlib.crc32(body)
        first = self.turns.pop(prompt, 0)
        if following := (first + n) % len(ANSWERS):
            self.turns[prompt] = following
        return first


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, without pipelining."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.path = ""
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport is not None:
                self.transport.abort()

    def on_url(self, url: bytes) -> None:
        self.path = url.decode("ascii", "replace")
        self.body = []

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        delay, response = self.engine.answer(self.path, b"".join(self.body))
        if delay:
            asyncio.get_running_loop().call_later(delay, self.write, response)
        else:
            self.write(response)

    def write(self, response: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(response)


async def serve(host: str, port: int) -> None:
    engine = Engine()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(engine), host, port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        description="A vLLM server's routes, answered at once from prepared bodies."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8100, help="port to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
