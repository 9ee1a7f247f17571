"""POST /v1/budget/cost: what a plan would cost."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.budget_schemas import read_cost
from service.costing import price
from service.replies import json_response
from service.serving import read_body
from service.world import World


async def cost(request: Request) -> Response:
    """The plan's eFLOPs, seconds, USD and memory; nothing is run."""
    world: World = request.app.state.world
    asked = read_cost(await read_body(request, world.limits))
    return json_response(await price(world, asked))


ROUTES = [Route("/v1/budget/cost", cost, methods=["POST"])]
