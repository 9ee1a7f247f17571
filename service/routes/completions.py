"""POST /v1/chat/completions and POST /v1/scale: a prompt and a budget in, the best answer out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.admission import Admission
from service.errors import ApiError, unreadable
from service.metrics import Metrics
from service.planning import Plan, plan
from service.records import Records
from service.replies import chat_completion, json_response, scaling_outcome
from service.response_facts import response_facts
from service.running import Run, run
from service.schemas import DEFAULT_TASK, ChatRequest, read_chat, read_scaling
from service.serving import EventStream, read_body, unless_left
from service.streams import chat_chunks, outcome_events
from service.tenants.tenant import Tenant
from service.tenants.tenants import Spending
from service.world import World
from strategies.search import Event

Reply = Callable[[Run, str], dict[str, Any]]


async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions, answered by spending a budget where it buys the most."""
    asked = await _asked(request)
    id = f"chatcmpl-{uuid4().hex}"
    if not asked.stream:
        return await unless_left(request.receive, _answered(request, asked, chat_completion, id))
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return await _streamed(
        request, asked, id, lambda runner: chat_chunks(runner.plan, runner, id, include_usage)
    )


async def scale(request: Request) -> Response:
    """The same, answered with the whole outcome: every candidate and the trace."""
    asked = await _asked(request)
    id = f"scale-{uuid4().hex}"
    if not asked.stream:
        return await unless_left(request.receive, _answered(request, asked, scaling_outcome, id))
    return await _streamed(request, asked, id, lambda runner: outcome_events(runner, id))


class _Runner:
    """Runs a request's plan and keeps the books: metrics, the facts of the log line, and those for feedback."""

    def __init__(self, request: Request, spending: Spending, id: str, task: str) -> None:
        self.plan = spending.plan
        self._spending = spending
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
            self._records.keep_response(self._id, response_facts(done, self._task, self._spending.tenant))
            return done
        except ApiError as error:
            if explained := self._spending.explained(error):
                raise explained from error
            raise
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
            await self.close()

    async def close(self) -> None:
        """Settle what was spent, be it nothing; does nothing the second time."""
        await self._spending.settle()


Events = Callable[[_Runner], AsyncGenerator[bytes]]
"""The encoded events of a run."""


async def _asked(request: Request) -> ChatRequest:
    _admission(request).check()
    asked = read_chat(await read_body(request, request.app.state.world.limits))
    headers = request.headers.getlist("x-aliquot-scaling")
    if not headers:
        return asked
    if asked.scaling is not None:
        message = "scaling stands in the body and in X-Aliquot-Scaling. Give one of them."
        raise unreadable(message, "X-Aliquot-Scaling")
    if len(headers) > 1:
        raise unreadable("X-Aliquot-Scaling stands there twice. Give it once.", "X-Aliquot-Scaling")
    return asked.model_copy(update={"scaling": read_scaling(headers[0])})


async def _planned(request: Request, asked: ChatRequest, id: str) -> _Runner:
    task = (asked.scaling and asked.scaling.task) or DEFAULT_TASK
    world: World = request.app.state.world
    tenant: Tenant = request.state.tenant
    planned = await plan(world, asked, tenant)
    return _Runner(request, await world.tenants.reserve(tenant, id, planned), id, task)


async def _answered(request: Request, asked: ChatRequest, reply: Reply, id: str) -> Response:
    async with _admission(request).entered(asked.model):
        done = await (await _planned(request, asked, id))()
        headers = {**_headers(done.plan), "X-Aliquot-Spent-Tokens": str(done.spent.tokens)}
        return json_response(reply(done, id), headers=headers)


async def _streamed(request: Request, asked: ChatRequest, id: str, events: Events) -> Response:
    """The run as a stream, to whose end its place among the requests is held."""
    async with AsyncExitStack() as held:

        async def begun() -> _Runner:
            await held.enter_async_context(_admission(request).entered(asked.model))
            return await _planned(request, asked, id)

        runner = await unless_left(request.receive, begun())
        held.push_async_callback(runner.close)
        return EventStream(events(runner), _headers(runner.plan), held.pop_all())


def _admission(request: Request) -> Admission:
    admission: Admission = request.app.state.world.admission
    return admission


def _headers(planned: Plan) -> dict[str, str]:
    return {"X-Aliquot-Strategy": planned.strategy.name}


ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/scale", scale, methods=["POST"]),
]
