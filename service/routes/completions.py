"""POST /v1/chat/completions and POST /v1/scale: a prompt and a budget in, the best answer out."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import unreadable
from service.metrics import Metrics
from service.openapi import chat_docs, scale_docs
from service.planning import Plan, plan
from service.replies import chat_completion, encode, scaling_outcome
from service.running import Run, run
from service.schemas import ChatRequest, read_chat, read_scaling
from service.serving import EventStream, read_body, unless_left
from service.streams import chat_chunks, outcome_events
from service.world import World
from strategies.search import Event

router = APIRouter()


@router.post("/v1/chat/completions", **chat_docs())
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions, answered by spending a budget where it buys the most."""
    asked, planned = await _planned(request)
    id = f"chatcmpl-{uuid4().hex}"
    if asked.stream:
        include_usage = asked.stream_options is not None and asked.stream_options.include_usage
        start = _Runner(request, planned)
        return EventStream(chat_chunks(planned, start, id, include_usage), _headers(planned))
    done = await unless_left(request.receive, _Runner(request, planned)())
    return _json(chat_completion(done, id), done)


@router.post("/v1/scale", **scale_docs())
async def scale(request: Request) -> Response:
    """The same, answered with the whole outcome: every candidate and the trace."""
    asked, planned = await _planned(request)
    id = f"scale-{uuid4().hex}"
    if asked.stream:
        return EventStream(outcome_events(_Runner(request, planned), id), _headers(planned))
    done = await unless_left(request.receive, _Runner(request, planned)())
    return _json(scaling_outcome(done, id), done)


class _Runner:
    """Runs a request's plan and keeps the books: metrics and the facts of the log line."""

    def __init__(self, request: Request, planned: Plan) -> None:
        self._plan = planned
        self._world: World = request.app.state.world
        self._metrics: Metrics = request.app.state.metrics
        self._facts: dict[str, object] = request.state.facts

    async def __call__(self, listen: Callable[[Event], None] | None = None, live: bool = False) -> Run:
        done = await run(self._plan, most_seconds=self._world.limits.seconds, listen=listen, live=live)
        self._metrics.ran(done)
        self._facts |= {
            "model": self._plan.model,
            "strategy": self._plan.strategy.name,
            "samples": done.spent.samples,
            "tokens": done.spent.tokens,
            "engine_ms": round(done.engine_seconds * 1e3, 2),
            "stopped_because": done.outcome.stopped_because,
        }
        return done


async def _planned(request: Request) -> tuple[ChatRequest, Plan]:
    world: World = request.app.state.world
    asked = read_chat(await read_body(request, world.limits))
    header = request.headers.get("x-aliquot-scaling")
    if header is not None:
        if asked.scaling is not None:
            message = "scaling stands in the body and in X-Aliquot-Scaling. Give one of them."
            raise unreadable(message, "X-Aliquot-Scaling")
        asked = asked.model_copy(update={"scaling": read_scaling(header)})
    return asked, await unless_left(request.receive, plan(world, asked))


def _headers(planned: Plan) -> dict[str, str]:
    return {"X-Aliquot-Strategy": planned.strategy.name}


def _json(body: object, done: Run) -> Response:
    headers = {**_headers(done.plan), "X-Aliquot-Spent-Tokens": str(done.spent.tokens)}
    return Response(encode(body), headers=headers, media_type="application/json")
