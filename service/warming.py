"""What the first recommendation after a calibration would wait for, worked out as soon as there is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from service.logs import logger

if TYPE_CHECKING:
    from budgets.plans import Offer

MOST_SAMPLES: Final = 64
"""Plans of more samples are worked out when they are asked for."""


class Warming:
    """Work in threads that nobody waits for, and that ends soon after `close` is called."""

    def __init__(self) -> None:
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, offer: Offer) -> None:
        task = asyncio.create_task(asyncio.to_thread(self._work, offer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*self._tasks)

    def _work(self, offer: Offer) -> None:
        from budgets.recommend import warm

        try:
            for _ in warm(offer, MOST_SAMPLES):
                if self._closed:
                    return
        except ValueError as error:  # then there is nothing to recommend, and whoever asks is told
            logger().warning("not_warmed", model=offer.model, why=str(error))
