"""POST /v1/budget/cost: what a plan would cost. POST /v1/budget/recommend: which plan a budget is best spent on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.budget_schemas import read_cost
from service.costing import price
from service.recommend_schemas import read_recommend
from service.recommending import recommendation
from service.replies import json_response
from service.serving import read_body
from service.world import World


async def cost(request: Request) -> Response:
    """The plan's eFLOPs, seconds, USD and memory; nothing is run."""
    world: World = request.app.state.world
    asked = read_cost(await read_body(request, world.limits))
    return json_response(await price(world, asked))


async def recommend(request: Request) -> Response:
    """The plan, what it is predicted to buy and to cost, others beside it, and why; nothing is run."""
    world: World = request.app.state.world
    asked = read_recommend(await read_body(request, world.limits))
    return json_response(await recommendation(world, asked))


ROUTES = [
    Route("/v1/budget/cost", cost, methods=["POST"]),
    Route("/v1/budget/recommend", recommend, methods=["POST"]),
]
