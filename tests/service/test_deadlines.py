"""A request's deadline ends its calls wherever they are, those that wait in the engine's queue too."""

import asyncio

import pytest

from tests.service.live import live
from tests.stand_ins import until


class Queue:
    """Lets calls wait, as an engine does whose slots are taken: nothing is answered, not even headers."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def __call__(self, *_, **__) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1


@pytest.mark.parametrize("strategy", ["majority", "particle_filtering", "repeated_sampling"])
@pytest.mark.parametrize("asked", [{"samples": 2, "seconds": 0.2}, {"samples": 2}])
async def test_a_call_that_waits_is_given_up_at_the_deadline_of_the_request_or_of_the_service(
    strategy, asked
):
    async with live(limits={"seconds": 0.3}) as served:
        served.stand_in.fault = queue = Queue()
        verifier = {"verifier": {"name": "exact", "reference": "1"}}
        scaling = {"strategy": strategy, "budget": asked} | (verifier if strategy != "majority" else {})
        response = await served.scale(scaling=scaling)
        assert (response.status_code, queue.most > 0) == (504, True)
        await until(lambda: queue.waiting == 0)


async def test_a_stream_ends_with_the_deadline_too():
    async with live() as served:
        served.stand_in.fault = queue = Queue()
        scaling = {"budget": {"samples": 1, "seconds": 1}}
        response = await served.chat(stream=True, scaling=scaling)
        assert "deadline_before_first_answer" in response.text
        assert queue.most == 1
        await until(lambda: queue.waiting == 0)


async def test_a_prompt_that_waits_to_be_tokenized_is_given_up_too():
    async with live() as served:
        served.stand_in.engine.tokenize = queue = Queue()
        response = await served.chat(scaling={"budget": {"samples": 1, "seconds": 1}})
        assert (response.status_code, queue.most) == (504, 1)
        await until(lambda: queue.waiting == 0)
