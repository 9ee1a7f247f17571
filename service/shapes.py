"""What configured models cost to run: their shapes, read from config.json, and their hardware."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from budgets.hardware import Hardware, find_hardware
from budgets.models import ModelShape
from engines.devices import detect_device
from service.errors import undoable
from service.settings import CostedConfig, ModelConfig

MOST_BYTES: Final = 2**24
FLOAT32_BYTES: Final = 4


class Shapes:
    """Shapes of configured models; each config.json is read once, and again only where it could not be used."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, str], ModelShape] = {}

    async def of(self, model: CostedConfig, param: str = "model") -> ModelShape:
        """The shape of a model that the field `param` asks for.

        Raises ApiError 422, with the mend, where `path` has no config.json that can be used.
        """
        key = type(model), model.name
        if key not in self._known:
            try:
                config = await asyncio.to_thread(_read_config, model.path)
                run = await asyncio.to_thread(as_run, model)
                self._known[key] = ModelShape.from_config(
                    config, weight_bytes=run.weight_bytes, kv_bytes=run.kv_bytes
                )
            except ValueError as error:
                message = f"The shape of {model.name} is not known: {error}."
                raise undoable("shape_unavailable", message, param) from error
        return self._known[key]


def as_run(model: CostedConfig) -> CostedConfig:
    """The configuration, with what is known of a model that Aliquot starts itself: it runs on this machine.

    Where that has no GPU, in float32 on its CPU. Blocks for a moment at first.
    """
    starts = isinstance(model, ModelConfig) and not model.urls
    if not starts or model.hardware or _device() != "cpu":
        return model
    return model.model_copy(
        update={
            "hardware": "cpu",
            "weight_bytes": model.weight_bytes or FLOAT32_BYTES,
            "kv_bytes": model.kv_bytes or FLOAT32_BYTES,
        }
    )


_device = cache(detect_device)


async def hardware_named(name: str, param: str, accelerators: int = 1) -> Hardware:
    """So many accelerators of that name as one. Raises ApiError 422, with the names that exist."""
    try:
        # In a thread: `cpu` is measured, which takes a moment.
        return (await asyncio.to_thread(find_hardware, name)).times(accelerators)
    except ValueError as error:
        raise undoable("unknown_hardware", f"{error}.", param) from error


def _read_config(path: str | None) -> dict[str, Any]:
    """The config.json in a model's folder. Raises ValueError, which does not tell where the folder is."""
    mend = "set its path to a folder that has one, or, to price a plan, send the model's shape in numbers"
    if path is None:
        raise ValueError(f"it has no path in the configuration, and so no config.json: {mend}")
    try:
        with (Path(path) / "config.json").open("rb") as file:
            config = json.loads(file.read(MOST_BYTES))
    except OSError as error:
        raise ValueError(f"its path holds no config.json that can be read: {mend}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its config.json is not JSON: {mend}") from error
    return config  # type: ignore[no-any-return]  # ModelShape checks that it is an object
