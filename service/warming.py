"""What the first recommendation after a calibration would wait for, worked out as soon as there is one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from service.errors import ApiError
from service.logs import logger
from service.thinking import Thinking

if TYPE_CHECKING:
    from budgets.plans import Offer

MOST_SAMPLES: Final = 64
"""Plans of more samples are worked out when they are asked for."""


class Warming:
    """Work in a thread that nobody waits for: for one offer at a time, the last, and until `close` is called."""

    def __init__(self, thinking: Thinking) -> None:
        self._thinking = thinking
        self._last: Offer | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, offer: Offer) -> None:
        self._last = offer
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._warm())

    async def close(self) -> None:
        """What is worked on ends at its next step, which is not waited for."""
        self._last = None
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _warm(self) -> None:
        with suppress(ApiError):  # too busy: what is asked for goes first
            while (offer := self._last) is not None:
                await self._thinking.run(self._work, offer)
                if self._last is offer:
                    self._last = None

    def _work(self, offer: Offer) -> None:
        from budgets.recommend import warm

        try:
            for _ in warm(offer, MOST_SAMPLES):
                if self._last is not offer:
                    return
        except ValueError as error:  # then there is nothing to recommend, and whoever asks is told
            logger().warning("not_warmed", model=offer.model, why=str(error))
