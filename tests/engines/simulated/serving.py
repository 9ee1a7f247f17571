"""What the tests of the simulated world share: solutions drawn from it, and a server on a free port."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import uvicorn

from engines.simulated.engine import SimulatedEngine
from engines.simulated.problems import Draws, SimulatedProblem
from engines.simulated.server import create_simulated_app
from engines.simulated.words import Tokens, decode
from engines.simulated.world import SimulatedWorld

FOREVER = 10**6


def solve(world: SimulatedWorld, problem: SimulatedProblem, *key: int) -> Tokens:
    """A solution, drawn whole by `key`."""
    return world.writer.write(problem, world.writer.path(problem, ()), Draws(*key), FOREVER)


def solutions(world: SimulatedWorld, problems: int, each: int) -> Iterator[tuple[SimulatedProblem, str]]:
    """`each` solutions of each of the first `problems`."""
    for index in range(problems):
        problem = world.problem(index)
        for i in range(each):
            yield problem, decode(solve(world, problem, index, i))


def agrees(measured: float, asked: float, n: int) -> bool:
    """Whether a share of `n` lies within 4 standard errors of the one asked for."""
    return abs(measured - asked) <= 4 * math.sqrt(max(asked * (1 - asked), 1e-4) / n)


@asynccontextmanager
async def serving_world(engine: SimulatedEngine) -> AsyncGenerator[str]:
    """The address of a server of `engine`."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_simulated_app(engine)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
