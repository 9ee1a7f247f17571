"""What the configured models and verifiers cost to call, and how long calls take, learned as they are made."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from budgets.hardware import Hardware
from budgets.latency import Factors
from budgets.tariff import Tariff
from service.errors import ApiError, undoable
from service.records import Records
from service.settings import CostedConfig, ModelConfig
from service.shapes import Shapes, as_run, hardware_named
from service.store.client import StoreUnavailable

KEEP_EVERY = 20
"""Calls of a model after which its factors are written down again."""


class Tariffs:
    """The tariffs of models and verifiers. Each is found when it is first asked for; factors go on from those kept."""

    def __init__(self, shapes: Shapes, kept: Records) -> None:
        self._shapes = shapes
        self._kept = kept
        self._found: dict[tuple[type, str], Tariff] = {}
        self._unknown: set[tuple[type, str]] = set()
        self._factors: dict[str, Factors] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    async def of(self, config: CostedConfig, param: str = "model") -> Tariff:
        """The tariff of a model that the field `param` asks for, with what was learned so far.

        Raises ApiError 422, with the mend, where its shape or its hardware is not known.
        """
        key = type(config), config.name
        if key not in self._found:
            shape = await self._shapes.of(config, param)
            placed = await asyncio.to_thread(as_run, config)
            hardware = await hardware_of(placed, param)
            usd = None if placed.usd_per_hour is None else placed.usd_per_hour * placed.accelerators
            self._found[key] = Tariff(shape, hardware, usd, placed.concurrency)
            self._unknown.discard(key)
            if isinstance(config, ModelConfig):
                self._factors[config.name] = await self._kept.factors(config.name)
        found = self._found[key]
        if isinstance(config, ModelConfig):
            found = replace(found, factors=self._factors[config.name])
        return found

    async def known(self, config: CostedConfig) -> Tariff | None:
        """The tariff, None where it cannot be known."""
        key = type(config), config.name
        if key in self._unknown:
            return None
        try:
            return await self.of(config)
        except ApiError:
            self._unknown.add(key)
            return None

    def learn(self, model: str, prefill: float, decode: float, measured: float) -> None:
        """Take note of how long a call took, of which the roofline says `prefill` and `decode` seconds."""
        factors = self._factors[model] = self._factors[model].observed(prefill, decode, measured)
        if factors.calls % KEEP_EVERY == 0:
            task = asyncio.create_task(self._keep(model, factors))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

    async def close(self) -> None:
        """Write down what was learned."""
        await asyncio.gather(*self._keeping)
        for model, factors in self._factors.items():
            if factors.calls % KEEP_EVERY:
                await self._keep(model, factors)

    async def _keep(self, model: str, factors: Factors) -> None:
        """Without the store nothing is lost but what the next calls teach again."""
        with suppress(StoreUnavailable):
            await self._kept.keep_factors(model, factors)


async def hardware_of(config: CostedConfig, param: str) -> Hardware:
    """What a model runs on. Raises ApiError 422 where it is not configured, or not known."""
    if config.hardware is None:
        message = f"It is not known what {config.name} runs on. Configure the hardware of {config.name}."
        raise undoable("hardware_required", message, param)
    return await hardware_named(config.hardware, param, config.accelerators)
