"""POST /v1/chat/completions and POST /v1/scale: a prompt and a budget in, the best answer out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import unreadable
from service.metrics import Metrics
from service.planning import Plan, plan
from service.records import Records, ResponseFacts
from service.replies import chat_completion, json_response, scaling_outcome
from service.running import Run, run
from service.schemas import DEFAULT_TASK, ChatRequest, read_chat, read_scaling
from service.serving import EventStream, read_body, unless_left
from service.streams import chat_chunks, outcome_events
from strategies.search import Event

WHOLE = ("completed", "accepted", "consensus", "budget_samples")
"""Ends of runs that had what they were given: those that stopped early would have answered the same with all of it."""

Reply = Callable[[Run, str], dict[str, Any]]


async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions, answered by spending a budget where it buys the most."""
    asked = await _asked(request)
    id = f"chatcmpl-{uuid4().hex}"
    if not asked.stream:
        return await unless_left(request.receive, _answered(request, asked, chat_completion, id))
    runner = await unless_left(request.receive, _planned(request, asked, id))
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return EventStream(chat_chunks(runner.plan, runner, id, include_usage), _headers(runner.plan))


async def scale(request: Request) -> Response:
    """The same, answered with the whole outcome: every candidate and the trace."""
    asked = await _asked(request)
    id = f"scale-{uuid4().hex}"
    if not asked.stream:
        return await unless_left(request.receive, _answered(request, asked, scaling_outcome, id))
    runner = await unless_left(request.receive, _planned(request, asked, id))
    return EventStream(outcome_events(runner, id), _headers(runner.plan))


class _Runner:
    """Runs a request's plan and keeps the books: metrics, the facts of the log line, and those for feedback."""

    def __init__(self, request: Request, planned: Plan, id: str, task: str) -> None:
        self.plan = planned
        self._id = id
        self._task = task
        self._records: Records = request.app.state.world.records
        self._metrics: Metrics = request.app.state.metrics
        self._facts: dict[str, object] = request.state.facts

    async def __call__(self, listen: Callable[[Event], None] | None = None, live: bool = False) -> Run:
        ledger = self.plan.ledger
        ended = "failed"
        try:
            done = await run(self.plan, listen=listen, live=live)
            ended = done.outcome.stopped_because
            self._records.keep_response(self._id, _for_feedback(done, self._task))
            return done
        finally:
            self._metrics.ran(self.plan.model, self.plan.strategy.name, ended, ledger)
            self._facts |= {
                "model": self.plan.model,
                "strategy": self.plan.strategy.name,
                "samples": ledger.spent.samples,
                "tokens": ledger.spent.tokens,
                "engine_ms": round(ledger.spent.engine_seconds * 1e3, 2),
                "stopped_because": ended,
            }


async def _asked(request: Request) -> ChatRequest:
    asked = read_chat(await read_body(request, request.app.state.world.limits))
    header = request.headers.get("x-aliquot-scaling")
    if header is None:
        return asked
    if asked.scaling is not None:
        message = "scaling stands in the body and in X-Aliquot-Scaling. Give one of them."
        raise unreadable(message, "X-Aliquot-Scaling")
    return asked.model_copy(update={"scaling": read_scaling(header)})


async def _planned(request: Request, asked: ChatRequest, id: str) -> _Runner:
    task = (asked.scaling and asked.scaling.task) or DEFAULT_TASK
    return _Runner(request, await plan(request.app.state.world, asked), id, task)


async def _answered(request: Request, asked: ChatRequest, reply: Reply, id: str) -> Response:
    done = await (await _planned(request, asked, id))()
    headers = {**_headers(done.plan), "X-Aliquot-Spent-Tokens": str(done.spent.tokens)}
    return json_response(reply(done, id), headers=headers)


def _for_feedback(done: Run, task: str) -> ResponseFacts:
    plan = done.plan
    alike, samples = plan.alike
    return ResponseFacts(
        model=plan.model,
        task=task,
        strategy=alike.name,
        samples=samples if done.outcome.stopped_because in WHOLE else done.spent.samples,
        params=msgspec.to_builtins(alike),
        verifier=plan.verifier.name if plan.verifier else None,
        k=plan.problem.k,
    )


def _headers(planned: Plan) -> dict[str, str]:
    return {"X-Aliquot-Strategy": planned.strategy.name}


ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/scale", scale, methods=["POST"]),
]
