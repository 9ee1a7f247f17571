import asyncio
import threading

import pytest

import budgets.recommend
from service.thinking import Thinking
from service.warming import Warming
from tests.stand_ins import until


class Work:
    """Endless work on offers, one step at a time as the test lets it."""

    def __init__(self) -> None:
        self.at: list[object] = []
        self.ended: list[object] = []
        self.step = threading.Semaphore(0)

    def warm(self, offer, most):
        try:
            while True:
                self.at.append(offer)
                yield
                self.step.acquire(timeout=10)
        finally:
            self.ended.append(offer)


@pytest.fixture
async def thinking():
    thinking = Thinking()
    yield thinking
    await thinking.close()


@pytest.fixture
def work(monkeypatch):
    work = Work()
    monkeypatch.setattr(budgets.recommend, "warm", work.warm)
    yield work
    work.step.release(100)


async def test_the_last_offer_alone_is_worked_on(thinking, work):
    warming = Warming(thinking)
    warming.begin("first")
    await until(lambda: work.at == ["first"])
    for offer in ("second", "third", "last"):
        warming.begin(offer)
    work.step.release(2)
    await until(lambda: work.at[-1] == "last")
    assert set(work.at) == {"first", "last"}
    assert work.ended == ["first"]
    await warming.close()


async def test_closing_ends_the_work(thinking, work):
    warming = Warming(thinking)
    warming.begin("first")
    await until(lambda: work.at == ["first"])
    await warming.close()
    work.step.release(3)
    await until(lambda: work.ended == ["first"])
    assert len(work.at) <= 2


async def test_work_that_ends_makes_room_for_the_next(thinking, monkeypatch):
    done = []
    monkeypatch.setattr(budgets.recommend, "warm", lambda offer, most: done.append(offer) or iter(()))
    warming = Warming(thinking)
    for offer in ("first", "second"):
        warming.begin(offer)
        await until(lambda offer=offer: done[-1:] == [offer])
        await asyncio.sleep(0.01)
    assert done == ["first", "second"]
    await warming.close()
