"""A simulated vLLM in a process of its own, with faults that a test switches on: `python -m tests.cluster.engine PORT`.

PUT /fault takes a `Fault` as JSON; GET /seen tells what reached it. It has so many `slots` for sequences; what comes
beyond them waits, and its /metrics say so.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engines.simulated.engine import MODEL, SimulatedEngine
from engines.simulated.problems import SimulatedSettings
from engines.simulated.server import create_simulated_app
from engines.simulated.world import SimulatedWorld

SETTINGS = SimulatedSettings(accuracy=0.6, steps=(3, 5))


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """`kind`: none, hang (accepts, and never answers anything), slow (`seconds` later), error (500), half (of a body).

    `seconds` is also what a decode step takes where there is no fault; `slots` as above.
    """

    kind: str = "none"
    seconds: float = 0.0
    slots: int = 1_000_000


class FaultyServer:
    """The simulated server behind its faults."""

    def __init__(self) -> None:
        self.engine = SimulatedEngine(SimulatedWorld(SETTINGS))
        self.app: ASGIApp = create_simulated_app(self.engine)
        self.fault = Fault()
        self.waiting = self.running = self.most = self.calls = 0
        self.headers: list[str] = []
        self._freed = asyncio.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/fault":
            self.fault = msgspec.json.decode(await Request(scope, receive).body(), type=Fault)
            self.engine._seconds_per_step = self.fault.seconds if self.fault.kind == "none" else 0.0
            async with self._freed:
                self._freed.notify_all()
            await JSONResponse({})(scope, receive, send)
        elif path == "/seen":
            seen = {"calls": self.calls, "running": self.running, "waiting": self.waiting, "most": self.most}
            await JSONResponse(seen | {"traceparents": self.headers})(scope, receive, send)
        elif self.fault.kind == "hang":
            await asyncio.Event().wait()
        elif path == "/metrics":
            await PlainTextResponse(self._metrics())(scope, receive, send)
        elif path == "/v1/completions":
            await self._complete(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        self.headers += [v.decode() for k, v in scope["headers"] if k == b"traceparent"]
        body = await Request(scope, receive).body()
        fault = self.fault
        if fault.kind == "error":
            await JSONResponse({"error": {"message": "broken"}}, 500)(scope, receive, send)
            return
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        sequences = _sequences(body)
        left = asyncio.create_task(_left(receive))
        work = asyncio.create_task(
            self._within_slots(sequences, scope, body, send, half=fault.kind == "half")
        )
        try:
            await asyncio.wait((left, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        except ClientDisconnect:
            pass
        finally:
            for task in (left, work):
                task.cancel()
            await asyncio.gather(left, work, return_exceptions=True)

    async def _within_slots(self, sequences: int, scope: Scope, body: bytes, send: Send, half: bool) -> None:
        self.waiting += sequences
        try:
            async with self._freed:
                await self._freed.wait_for(
                    lambda: self.running == 0 or self.running + sequences <= self.fault.slots
                )
        finally:
            self.waiting -= sequences
        self.running += sequences
        self.most = max(self.most, self.running)
        try:
            await self.app(scope, _replay(body), _halved(send) if half else send)
        finally:
            self.running -= sequences
            async with self._freed:
                self._freed.notify_all()

    def _metrics(self) -> str:
        values = {
            "num_requests_running": self.running,
            "num_requests_waiting": self.waiting,
            "kv_cache_usage_perc": min(1.0, self.running / self.fault.slots),
        }
        label = f'{{engine="0",model_name="{MODEL}"}}'
        return "".join(f"# TYPE vllm:{k} gauge\nvllm:{k}{label} {float(v)}\n" for k, v in values.items())


def _sequences(body: bytes) -> int:
    asked: Any = msgspec.json.decode(body)
    prompts = asked["prompt"]
    return int(asked.get("n", 1)) * (len(prompts) if prompts and isinstance(prompts[0], list) else 1)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _halved(send: Send) -> Send:
    """Sends half of the first body, and ends it as if it were whole."""

    async def half(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(k, v) for k, v in message["headers"] if k != b"content-length"]
            await send({**message, "headers": headers})
        else:
            await send({**message, "body": message.get("body", b"")[: len(message.get("body", b"")) // 2]})

    return half


if __name__ == "__main__":
    uvicorn.run(FaultyServer(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
