"""What a plan costs, without running it: the answers of POST /v1/budget/cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from budgets.hardware import Hardware
from budgets.kinetics import TERMS, Cost, cost, kv_bytes_peak, memory_bytes
from budgets.models import ModelShape
from budgets.tariff import Charge, Tariff
from budgets.workload import DENSE, Verification, Workload
from service.budget_schemas import CostRequest, HardwareRequest, ShapeRequest
from service.errors import ApiError, undoable, unreadable
from service.settings import ModelConfig
from service.shapes import hardware_named
from service.world import World


@dataclass(frozen=True, slots=True)
class Priced:
    """A plan and what it runs on; `tariff` is None where nothing is known but the intensity."""

    shape: ModelShape
    workload: Workload
    intensity: float
    tariff: Tariff | None
    published: bool


async def price(world: World, asked: CostRequest) -> dict[str, Any]:
    """The answer. Raises ApiError where the plan cannot be priced, with the field and the mend."""
    return _reply(await _priced(world, asked))


async def _priced(world: World, asked: CostRequest) -> Priced:
    model, shape = await _shape(world, asked.model, asked.shape, "")
    workload = await _workload(world, asked, model.concurrency if model else 1)
    published = bool(asked.published)
    if asked.arithmetic_intensity is None:
        tariff = await _tariff(world, model, shape, asked.hardware)
        return Priced(shape, workload, tariff.hardware.arithmetic_intensity, tariff, published)
    if asked.hardware is not None:
        message = (
            "hardware has an arithmetic intensity of its own. Leave out arithmetic_intensity or hardware."
        )
        raise unreadable(message, "arithmetic_intensity")
    return Priced(shape, workload, asked.arithmetic_intensity, None, published)


async def _tariff(
    world: World, model: ModelConfig | None, shape: ModelShape, asked: str | HardwareRequest | None
) -> Tariff:
    """On what the request names, of a name as many as the model has, else as it is configured, with its price."""
    if isinstance(asked, HardwareRequest):
        return Tariff(shape, Hardware("given", **asked.model_dump()))
    if model and asked in (None, model.hardware):
        try:
            return await world.tariffs.of(model, "hardware")
        except ApiError as error:
            if error.code != "hardware_required":
                raise
    if asked is None:
        message = "It is not known what this runs on. Give hardware, or arithmetic_intensity in FLOP per byte"
        message += f", or configure the hardware of {model.name}." if model else "."
        raise undoable("hardware_required", message, "hardware")
    return Tariff(shape, await hardware_named(asked, "hardware", model.accelerators if model else 1))


async def _shape(
    world: World, name: str | None, numbers: ShapeRequest | None, within: str
) -> tuple[ModelConfig | None, ModelShape]:
    """The model that is priced, configured or in numbers; `within` names the field that holds both."""
    if name is not None and numbers is not None:
        message = f"{within}model and {within}shape both say what is to be priced. Give one of them."
        raise unreadable(message, f"{within}shape")
    if numbers is not None:
        return None, numbers.shape()
    if name is None:
        message = f"{within}model is missing. Add it, one of /v1/models, or {within}shape, its numbers."
        raise unreadable(message, f"{within}model", "missing_parameter")
    config = world.model(name, f"{within}model")
    return config, await world.shapes.of(config, f"{within}model")


async def _workload(world: World, asked: CostRequest, concurrency: int) -> Workload:
    workload = Workload(
        asked.prompt_tokens,
        asked.output_tokens,
        asked.samples or 1,
        asked.attention.attention() if asked.attention else DENSE,
        share_prompt=asked.share_prompt is not False,
        concurrency=asked.concurrency or concurrency,
    )
    verifier = asked.verifier
    if verifier is None:
        return workload
    if asked.published:
        message = "The published terms count no verifier. Leave out verifier or published."
        raise unreadable(message, "verifier")
    _, shape = await _shape(world, verifier.model, verifier.shape, "verifier.")
    read = verifier.prompt_tokens
    calls = Workload(
        asked.prompt_tokens + asked.output_tokens if read is None else read,
        verifier.output_tokens or 0,
        workload.samples,
        share_prompt=False,
        concurrency=workload.concurrency,
    )
    return replace(workload, verifier=Verification(shape, calls))


def _reply(priced: Priced) -> dict[str, Any]:
    counted = cost(priced.shape, priced.workload, priced.intensity, published=priced.published)
    seconds, usd, fits = _on_hardware(priced)
    return {
        "eflops": {
            "compute": counted.compute,
            "memory": counted.memory,
            "total": counted.total,
            **{name: counted.terms.get(name) for name in TERMS},
        },
        "seconds": seconds,
        "usd": usd,
        "kv_bytes_peak": kv_bytes_peak(priced.shape, priced.workload),
        "fits_memory": fits,
        "dominant_term": counted.dominant_term if any(counted.terms.values()) else None,
        "warnings": list(_warnings(priced, counted, fits)),
    }


def _on_hardware(priced: Priced) -> tuple[float | None, float | None, bool | None]:
    """Seconds, USD and whether all of it fits; each None where it cannot be known."""
    tariff = priced.tariff
    if tariff is None:
        return None, None, None
    charge, fits = Charge(), True
    for shape, workload in _calls(priced):
        charge += replace(tariff, shape=shape).price(workload)
        fits = fits and memory_bytes(shape, workload) <= tariff.hardware.memory_bytes
    return charge.seconds, None if tariff.usd_per_hour is None else charge.usd, fits


def _calls(priced: Priced) -> Iterator[tuple[ModelShape, Workload]]:
    """The generator's work and the verifier's."""
    yield priced.shape, priced.workload
    if priced.workload.verifier is not None:
        yield priced.workload.verifier.shape, priced.workload.verifier.workload


def _warnings(priced: Priced, counted: Cost, fits: bool | None) -> Iterator[str]:
    if priced.tariff is None:
        yield (
            "seconds, usd and fits_memory are not known from arithmetic_intensity alone: "
            "give hardware, a name or its numbers."
        )
    elif priced.tariff.usd_per_hour is None:
        yield "usd is not known: name a configured model that has usd_per_hour, on the hardware configured for it."
    if fits is False and priced.tariff is not None:
        needed = max(memory_bytes(*call) for call in _calls(priced))
        yield (
            f"{needed / 1e9:.4g} GB of weights and KV do not fit {priced.tariff.hardware.memory_bytes / 1e9:.4g} GB: "
            "take more accelerators, or lower concurrency, samples or output_tokens."
        )
    for name, amount in counted.terms.items():
        if amount < 0:
            yield f"The published arithmetic makes {name} negative here: leave out published for the exact count."
